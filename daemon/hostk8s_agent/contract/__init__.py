"""What a stack asks for: the contract, read with positions, checked whole, compared with its neighbours.

This room is pure. It takes bytes and gives values: it opens no file, asks no clock, starts no thread.

- `parsing`: bytes to a `Contract`, or every problem of the file at once
- `model`: the values that a contract is made of
- `fields`: what a person may write; parser, JSON Schema and reference are all made from it
- `rules`: the stable code of each rule, and what it means
- `naming`, `paths`, `quantities`, `values`, `schedules`: one text each, to one value
- `claims`, `conflicts`: what two contracts may not both claim
- `schema`: the JSON Schema for editors
- `decoding`, `reading`, `matching`: bytes to text, to a tree with positions, to the fields of a mapping
- `reporting`, `wording`: how problems are collected and told
"""
