"""The one kind of error a user can cause: where, which field, what value, what is allowed."""


class InputError(ValueError):
    """A configuration, file or argument that cannot be used, told in one line.

    Args:
        where: the file, command or object at fault.
        field: the field (column, key, argument) at fault.
        value: what was found there.
        allowed: what would have been accepted.
    """

    def __init__(self, where: object, field: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        line = f"{where}: {field}: {shown} is not allowed; allowed: {allowed}"
        super().__init__(" ".join(line.split()))
