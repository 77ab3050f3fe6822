"""The one kind of error a user can cause: where, which field, what value, what is allowed."""


class InputError(ValueError):
    """A configuration, file or argument that cannot be used, told in one line.

    Args:
        where: the file, command or object at fault.
        field: the field (column, key, argument) at fault.
        value: what was found there.
        allowed: what would have been accepted.

    Attributes:
        field: as given; ``value`` and ``allowed`` likewise.
    """

    def __init__(self, where: object, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        shown = value if isinstance(value, str) and value.isprintable() else repr(value)
        line = f"{where}: {field}: {shown} is not allowed; allowed: {allowed}"
        super().__init__(" ".join(line.split()))
