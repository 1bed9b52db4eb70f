"""A plugin: nothing of its component is let out, so it can touch nothing but the text that it is given."""


class Text:
    def transform(self, text: str) -> str:
        return f"plugged in: {text}"
