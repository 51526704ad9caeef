"""What tools take on their command lines."""


def positive(text: str) -> int:
    """For argparse, which names it where it refuses: "invalid positive value: '0'"."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number
