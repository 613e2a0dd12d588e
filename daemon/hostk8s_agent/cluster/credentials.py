"""From a kubeconfig to who we are and whom we trust, by the `kubernetes` package.

This module imports that package, which costs a quarter of a second: it is imported by the connecting thread alone.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.utils.keepalive import SocketOptions, tcp_keepalive_socket_options

from hostk8s_agent.cluster.errors import KubeconfigInvalidError
from hostk8s_agent.cluster.scratch import clear_scratch_folder, make_scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hostk8s_agent.cluster.kubeconfig import Kubeconfig

# The package remembers the files that it makes of inline certificates in one global table.
_LOADING = threading.Lock()

# Probe a silent peer after 10 s, four times, 5 s apart: a machine that went away is noticed within 30 s.
_KEEPALIVE = tcp_keepalive_socket_options(idle=10, interval=5, count=4)


@dataclass(frozen=True)
class Credentials:
    """What a client needs to talk to a server.

    `authorize` returns the value of the Authorization header, empty where a client certificate says who we are;
    it renews a token that runs out (an exec plugin may be run), and is safe from several threads. `tls` is None for
    plain HTTP. `server_name` is the name to expect in the server's certificate where it is not the host's.
    """

    server: str
    authorize: Callable[[], str]
    tls: ssl.SSLContext | None
    server_name: str | None
    proxy: str | None
    socket_options: SocketOptions


def load_credentials(kubeconfig: Kubeconfig, scratch_folder: Path) -> Credentials:
    """Load what `kubeconfig` says about its context; may run its exec plugin.

    Inline certificates and keys stand as files in `scratch_folder` only while this runs: they are read once
    into the TLS context. Raises `KubeconfigInvalidError`. Its message never quotes the package's, which names
    whole users, tokens included, and for the same reason it is not chained to it.
    """
    with _LOADING:
        make_scratch_folder(scratch_folder)
        try:
            configuration = _load_configuration(kubeconfig, scratch_folder)
            tls = _make_tls_context(kubeconfig, configuration)
        finally:
            clear_scratch_folder(scratch_folder)
    return Credentials(
        server=kubeconfig.server,
        authorize=_make_authorizer(kubeconfig, configuration),
        tls=tls,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        socket_options=_KEEPALIVE,
    )


def _load_configuration(kubeconfig: Kubeconfig, scratch_folder: Path) -> Configuration:
    configuration = Configuration()
    # Set, not merely left out: from now on the loader no longer looks for a proxy each time it sets the host.
    configuration.proxy = None if _is_loopback(kubeconfig.server) else configuration.proxy
    problem = ""
    try:
        load_kube_config(
            config_file=kubeconfig.path,
            context=kubeconfig.context,
            client_configuration=configuration,
            # The user's kubeconfig is not ours to write, not even with a renewed token.
            persist_config=False,
            temp_file_path=str(scratch_folder),
        )
    except ConfigException as error:
        problem = _explain_safely(error)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        problem = f"it is not one that can be used ({type(error).__name__})"
    if problem:
        raise _invalid(kubeconfig, problem)
    return configuration


def _explain_safely(error: ConfigException) -> str:
    text = str(error)
    if text.startswith("File does not exist: "):  # a path, which is no secret
        return text[0].lower() + text[1:]
    return "its user or cluster entry is not complete"


def _make_tls_context(kubeconfig: Kubeconfig, configuration: Configuration) -> ssl.SSLContext | None:
    if not kubeconfig.server.startswith("https://"):
        return None
    # One context for all connections: urllib3 would read the files again for each.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    what = "the certificate authority"
    try:
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif configuration.ssl_ca_cert:
            context.load_verify_locations(configuration.ssl_ca_cert)
        else:
            context.load_default_certs()
        what = "the client certificate or its key"
        if configuration.cert_file:
            # A key with a passphrase must not make the agent ask for it on a terminal.
            context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _invalid(kubeconfig, f"{what} of its context {kubeconfig.context} cannot be used") from error
    return context


def _make_authorizer(kubeconfig: Kubeconfig, configuration: Configuration) -> Callable[[], str]:
    renewing = threading.Lock()

    def authorize() -> str:
        with renewing:
            try:
                setting = configuration.auth_settings().get("BearerToken")
            except Exception:  # noqa: BLE001 - whatever a credential plugin comes up with
                setting, is_renewed = None, False
            else:
                is_renewed = True
        if not is_renewed:
            # Out of the except block, so that nothing is chained: see above.
            raise _invalid(kubeconfig, f"the user of its context {kubeconfig.context} cannot renew its token")
        return (setting and setting["value"]) or ""

    return authorize


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _invalid(kubeconfig: Kubeconfig, problem: str) -> KubeconfigInvalidError:
    return KubeconfigInvalidError(
        f"the kubeconfig {kubeconfig.path} cannot be used: {problem}",
        hint="write it again (make start, or kind export kubeconfig); the agent reads it as soon as it changes",
    )
