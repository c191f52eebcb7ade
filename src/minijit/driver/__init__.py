"""The driver: the only place where the stages meet.

`core` is the state machine; `state` what it knows of each code object, function and loop; `natives` the machine code,
maps and watchers that exist once a process; `api` what users call.
"""
