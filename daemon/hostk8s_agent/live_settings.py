"""The settings in force while the agent runs: replaced only by valid ones.

A file that is not valid changes nothing: the last good settings stay in force, also over a restart, and the problem is
told until it is mended.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from hostk8s_agent.errors import Problem, SettingsError
from hostk8s_agent.settings import Settings, find_unknown_variables, load_settings
from hostk8s_agent.settings.files import find_user_file, find_workspace_file, sign_file
from hostk8s_agent.settings.notifications import REVEALS_SECRETS
from hostk8s_agent.workspace import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hostk8s_agent.workspace import Workspace

log = structlog.get_logger()

LAST_GOOD_NAME = "settings.json"


class LiveSettings:
    """The settings of one workspace's agent. Raises `SettingsError` where there is nothing good to begin with.

    `judge` knows what no single value tells, and raises `SettingsError` for settings that cannot be meant.
    """

    def __init__(
        self,
        workspace: Workspace,
        flags: Mapping[str, str] | None = None,
        *,
        judge: Callable[[Settings], object] = lambda _settings: None,
    ) -> None:
        self._workspace = workspace
        self._flags = dict(flags or {})
        self._judge = judge
        self._files = (find_workspace_file(workspace), find_user_file())
        self._last_good = state_folder(workspace) / LAST_GOOD_NAME
        self._lock = threading.Lock()
        self._problem: Problem | None = None
        for told in find_unknown_variables():
            log.warning("settings.unknown_variable", reason=told)
        self._seen = self._sign()
        try:
            self._current = self._load()
        except SettingsError as error:
            remembered = self._load_last_good()
            if remembered is None:
                raise
            self._current = remembered
            self._refuse(error)
        else:
            self._keep()

    @property
    def current(self) -> Settings:
        """The settings in force."""
        return self._current

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the settings that are not in force; empty when they are good."""
        with self._lock:
            return () if self._problem is None else (self._problem,)

    def has_changed(self) -> bool:
        """Whether a file of settings is another one than at the last `reload`."""
        return self._sign() != self._seen

    def reload(self) -> bool:
        """Read the settings anew; return whether others are in force now."""
        self._seen = self._sign()
        try:
            loaded = self._load()
        except SettingsError as error:
            self._refuse(error)
            return False
        with self._lock:
            self._problem = None
        if loaded.model_dump() == self._current.model_dump():
            return False
        self._current = loaded
        self._keep()
        return True

    def _load(self) -> Settings:
        return load_settings(self._workspace, self._flags, judge=self._judge)

    def _refuse(self, error: SettingsError) -> None:
        log.error("settings.refused", reason=error.message, hint=error.hint)
        message = f"the settings cannot be used, the last good ones are in force: {error.message}"
        with self._lock:
            self._problem = Problem(SettingsError.code, message, error.hint)

    def _sign(self) -> tuple[object, ...]:
        return tuple(sign_file(file) for file in self._files)

    def _keep(self) -> None:
        """Remember the settings for a start at which the files are not valid. What cannot be kept is no problem yet."""
        try:
            self._last_good.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = self._last_good.with_suffix(".new")
            # Secrets too: without them, who is to be told would not be told after such a start.
            text = json.dumps(self._current.model_dump(mode="json", context={REVEALS_SECRETS: True}))
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            beside.replace(self._last_good)
        except OSError as error:
            log.warning("settings.not_kept", reason=error.strerror)

    def _load_last_good(self) -> Settings | None:
        try:
            values = json.loads(self._last_good.read_text(encoding="utf-8"))
            return Settings(**values)
        except (OSError, ValueError, TypeError, ValidationError):
            return None
