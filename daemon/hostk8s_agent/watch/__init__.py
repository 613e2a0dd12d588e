"""Which contract changed: events make it fast, the scan of the contract files is the truth.

The room's product is the name of a stack. It is told at once when a contract is closed after writing or moved
into place, once more at most when its folder is brand new, and after half a second's confirmation when it is
gone. A scan every 30 s (every 2 s where no events arrive) tells what the events did not.
"""
