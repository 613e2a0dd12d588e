"""Which contract changed: events make it fast, the scan of the contract files is the truth.

The room's product is the name of a stack. It is told at once when a contract is closed after writing or moved
into place, once more at most when its folder is brand new, and after half a second's confirmation when it is
gone. A scan every 30 s (every 2 s where no events arrive) tells what the events did not.
"""

from hostk8s_agent.watch.contract_files import CONTRACT_NAME, ContractFile, ContractKind, Fingerprint
from hostk8s_agent.watch.scan import RootState, ScanResult, scan_contract_files
from hostk8s_agent.watch.watcher import ContractWatcher, WatchState

__all__ = [
    "CONTRACT_NAME",
    "ContractFile",
    "ContractKind",
    "ContractWatcher",
    "Fingerprint",
    "RootState",
    "ScanResult",
    "WatchState",
    "scan_contract_files",
]
