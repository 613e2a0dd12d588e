"""Noticing that the kubeconfig is another one, without being led astray by one that is being written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hostk8s_agent.cluster.errors import KubeconfigError
from hostk8s_agent.cluster.kubeconfig import (
    FileSignature,
    Kubeconfig,
    KubeconfigSource,
    load_kubeconfig,
    sign_files,
)

if TYPE_CHECKING:
    from hostk8s_agent.errors import Problem


class KubeconfigWatch:
    """The last good kubeconfig of a source, and what is wrong with the files now. Used by one thread."""

    def __init__(self, source: KubeconfigSource) -> None:
        self._source = source
        self._signature: FileSignature | None = None
        self._is_settled = True
        self._current: Kubeconfig | None = None
        self._problem: Problem | None = None

    @property
    def current(self) -> Kubeconfig | None:
        """The last good one, None before there was one."""
        return self._current

    @property
    def problem(self) -> Problem | None:
        """Why the files are of no use now, None when they are."""
        return self._problem

    def look(self) -> bool:
        """Look at the files; return True when there is a good kubeconfig that is another one than before.

        Costs one stat a file unless something changed. A good one that turns bad is believed at the second look: most
        programs write it in place, and a reader can see half of it.
        """
        signature = sign_files(self._source)
        if signature == self._signature and self._is_settled:
            return False
        is_second_look = signature == self._signature
        self._signature = signature
        try:
            used = self._source.used_context if self._current is None else self._current.context
            found = load_kubeconfig(replace(self._source, used_context=used))
        except KubeconfigError as error:
            self._is_settled = is_second_look or self._current is None
            if self._is_settled:
                self._problem = error.problem
            return False
        self._is_settled = True
        self._problem = None
        is_another = found != self._current
        self._current = found
        return is_another
