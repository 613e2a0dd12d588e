"""What the tests of the planner build their states from."""

from __future__ import annotations

import pytest

from hostk8s_agent.contract.model import Contract
from hostk8s_agent.contract.parsing import parse_contract
from hostk8s_agent.plan.desired import DesiredState
from hostk8s_agent.plan.objects import render_desired_state

CONTRACT = b"""\
apiVersion: hostk8s.io/v1
kind: StorageContract
metadata:
  name: foundation/airflow
spec:
  directories:
    - name: dags
      path: /mnt/pv/airflow/dags
      size: 1Gi
      accessModes: [ReadWriteOnce, ReadOnlyMany]
      storageClass: airflow
      owner: "50000:0"
      permissions: "775"
    - name: logs
      path: /mnt/pv/airflow/logs
      size: 500Mi
      accessModes: [ReadWriteMany]
      storageClass: airflow
"""


@pytest.fixture
def contract() -> Contract:
    """A contract of two directories that share a StorageClass."""
    return parse_contract(CONTRACT, file="software/stacks/foundation/airflow/x.yaml", stack="foundation/airflow")


@pytest.fixture
def desired(contract: Contract) -> DesiredState:
    """What that contract asks for."""
    return render_desired_state(contract, "/work/space")
