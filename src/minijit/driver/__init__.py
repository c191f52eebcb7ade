"""The driver: the only place where the stages meet.

`core` is the door through which machine code and users come in, and says what its parts know; `state` is what is known
of each code object, function and loop; `natives` the machine code, maps and watchers that exist once a process; `turn`
sees to it that one thing happens at a time; `process` brings minijit into service and out of it; `api` is what users
call.
"""
