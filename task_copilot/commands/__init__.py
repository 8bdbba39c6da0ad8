"""What a person does from a shell, with or without a running server.

Each module is imported when one of its commands is asked for; its `COMMANDS` names them.
"""
