"""Names of stacks, directories, namespaces and storage classes."""

from __future__ import annotations

import pytest

from hostk8s_agent.contract.naming import (
    LABEL_DIRECTORY,
    LABEL_STACK,
    fold_stack_name,
    parse_directory_name,
    parse_namespace,
    parse_storage_class,
    persistent_volume_name,
    require_stack_name,
)
from hostk8s_agent.contract.rules import Code, RuleError


def test_names_are_those_that_other_files_select_on() -> None:
    """HostK8s' manifests hold these letter for letter."""
    assert persistent_volume_name("sample", "api-data") == "hostk8s-sample-api-data-pv"
    assert persistent_volume_name("foundation/airflow", "dags") == "hostk8s-foundation-airflow-dags-pv"
    assert fold_stack_name("a/b/c") == "a-b-c"
    assert (LABEL_STACK, LABEL_DIRECTORY) == ("hostk8s.stack", "hostk8s.storage.name")


def test_three_pairs_can_fold_into_one_name() -> None:
    """Which is why conflicts are looked for."""
    names = {persistent_volume_name(*pair) for pair in (("a-b", "c"), ("a", "b-c"), ("a/b", "c"))}

    assert names == {"hostk8s-a-b-c-pv"}


def test_the_longest_names_stay_far_below_what_kubernetes_allows() -> None:
    """The labels' limit of 63 is reached long before the object's 253."""
    assert len(persistent_volume_name("s" * 63, "d" * 63)) == 138


@pytest.mark.parametrize("stack", ["sample", "foundation/airflow", "v1.2/x", "0", "a" * 63])
def test_ordinary_folders_are_stacks(stack: str) -> None:
    """No complaint."""
    require_stack_name(stack)


@pytest.mark.parametrize("stack", ["", "Sample", "a_b", "-a", "a-", "a//b", "a/-b", "a b", "ü", ".git", "a" * 64])
def test_a_folder_that_gives_no_kubernetes_name_is_told_so(stack: str) -> None:
    """It would otherwise fail in the cluster, later and with less to say."""
    with pytest.raises(RuleError) as raised:
        require_stack_name(stack)

    assert raised.value.code is Code.STACK_NAME_INVALID
    assert raised.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [("My_Data", "'my-data'"), ("a.-.b", "'a.b'"), ("data\n", "'data'"), ("___", "both ends"), ("d" * 64, "shorter")],
)
def test_a_wrong_name_comes_with_a_right_one(text: str, hint: str) -> None:
    """Where there is one nearby."""
    with pytest.raises(RuleError) as raised:
        parse_directory_name(text)

    assert raised.value.code is Code.DIRECTORY_NAME_INVALID
    assert hint in raised.value.hint


def test_dots_are_for_directories_and_classes_not_for_namespaces() -> None:
    """A namespace is a DNS label, the others are subdomains."""
    assert parse_directory_name("v1.data") == "v1.data"
    assert parse_storage_class("fast.example.com") == "fast.example.com"
    assert parse_namespace("my-app") == "my-app"
    with pytest.raises(RuleError) as raised:
        parse_namespace("my.app")
    assert raised.value.code is Code.NAMESPACE_INVALID


def test_a_storage_class_may_be_as_long_as_an_object_name() -> None:
    """It becomes no label."""
    assert parse_storage_class("a" * 253) == "a" * 253
    with pytest.raises(RuleError) as raised:
        parse_storage_class("a" * 254)
    assert raised.value.code is Code.STORAGE_CLASS_INVALID
