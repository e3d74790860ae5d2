"""Instructions that a format can only give at the start, where they stand later in a dialogue."""

from __future__ import annotations

from harness.gateway.dialogue import Message, Text


def split(messages: tuple[Message, ...]) -> tuple[list[Text], tuple[Message, ...]]:
    """Return the instructions at the start and the dialogue.

    Later ones become marked text of the user's turn where they stand: their place is part of what they mean.
    """
    first = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    start = [part for message in messages[:first] for part in message.parts if isinstance(part, Text)]
    return start, tuple(_marked(message) if message.role == "system" else message for message in messages[first:])


def _marked(message: Message) -> Message:
    texts = (part.text for part in message.parts if isinstance(part, Text))
    return Message("user", tuple(Text(f"<system>\n{text}\n</system>") for text in texts))
