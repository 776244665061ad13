"""What aiogram and python-telegram-bot make of our calls to Telegram: started by the unit tests
of src/channels/tests/telegram/judged.rs.

methods                writes the names of all methods that aiogram knows
judge CALLS FILLED     each line {"method", "params"} of the file CALLS is a call of ours: aiogram's
                       model of that method must take it, and python-telegram-bot's method and
                       classes, with no field unknown, however deep, and none missing. FILLED says
                       for which methods we fill in the chat

Exit code 0: there are no problems; each is a line.
"""

import inspect
import json
import sys
from collections import Counter
from pathlib import Path

# So many methods have a call at least, else the tests did not write what they say.
METHODS = 20

# What python-telegram-bot's classes write and do not read: it is always the same.
CONSTANT = ["remove_keyboard", "force_reply"]


def models(value):
    """All of aiogram's objects in a value."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from models(getattr(value, name, None))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from models(item)


def plain(value, path):
    """Where a dictionary of ours stayed a dictionary: no model has read it."""
    if isinstance(value, dict):
        yield path
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from plain(item, f"{path}[{index}]")


def methods():
    """aiogram's models of the methods, by their names in small letters."""
    import aiogram.methods

    kinds = (getattr(aiogram.methods, name) for name in aiogram.methods.__all__)
    named = (kind for kind in kinds if isinstance(getattr(kind, "__api_method__", None), str))
    return {kind.__api_method__.lower(): kind for kind in named}


def aiogram_finds(kind, params):
    """What aiogram's model of a method has against a call."""
    if kind is None:
        yield "there is no such method"
        return
    try:
        read = kind.model_validate(params)
    except Exception as error:
        yield str(error)
        return
    for model in models(read):
        if model.model_extra:
            yield f"{type(model).__name__} has no {', '.join(model.model_extra)}"
    for name in type(read).model_fields:
        for place in plain(getattr(read, name, None), name):
            yield f"nothing has read {place}"


def chats_find(by_name, filled):
    """The chat is filled in for the methods that are about one, and for no other."""
    for method, kind in by_name.items():
        field = kind.model_fields.get("chat_id")
        if method not in filled:
            continue
        if field is None and filled[method]:
            yield f"{method}: it takes no chat, and is given one"
        if field is not None and field.is_required() and not filled[method]:
            yield f"{method}: it needs a chat, and is given none"


def ptb_class(name, value):
    """python-telegram-bot's class for a parameter that is an object, or a list of them."""
    import telegram

    if name == "reply_markup":
        kinds = {
            "inline_keyboard": telegram.InlineKeyboardMarkup,
            "keyboard": telegram.ReplyKeyboardMarkup,
            "remove_keyboard": telegram.ReplyKeyboardRemove,
            "force_reply": telegram.ForceReply,
        }
        return next(kinds[field] for field in value if field in kinds)
    if name == "media":
        return getattr(telegram, "InputMedia" + value["type"].capitalize())
    return {
        "entities": telegram.MessageEntity,
        "caption_entities": telegram.MessageEntity,
        "link_preview_options": telegram.LinkPreviewOptions,
        "reply_parameters": telegram.ReplyParameters,
        "prices": telegram.LabeledPrice,
    }[name]


def ptb_finds_in(name, value):
    """What its class has against an object of ours: it must write again what it has read."""
    if isinstance(value, list):
        for item in value:
            yield from ptb_finds_in(name, item)
    elif isinstance(value, dict):
        kind = ptb_class(name, value)
        if name == "media":
            # It sends these, and never reads them.
            read = kind(**{key: item for key, item in value.items() if key != "type"})
        else:
            given = {key: item for key, item in value.items() if key not in CONSTANT}
            read = kind.de_json(given, None)
        yield from unknown(read)
        written = read.to_dict()
        for field in value:
            if written.get(field) != value[field]:
                yield f"{kind.__name__} reads {field} as {written.get(field)!r}"


def unknown(read):
    """The fields that no class of python-telegram-bot has."""
    import telegram

    if isinstance(read, telegram.TelegramObject):
        if read.api_kwargs:
            yield f"{type(read).__name__} has no {', '.join(read.api_kwargs)}"
        for name in read._get_attrs_names(include_private=False):
            yield from unknown(getattr(read, name))
    elif isinstance(read, (list, tuple)):
        for item in read:
            yield from unknown(item)


def ptb_finds(function, params):
    """What python-telegram-bot's method has against a call."""
    try:
        inspect.signature(function).bind(None, **params)
        for name, value in params.items():
            yield from ptb_finds_in(name, value)
    except Exception as error:
        yield f"{type(error).__name__}: {error}"


def judge(calls, filled):
    import telegram

    by_name = methods()
    wrong, seen, seen_by_ptb = [], Counter(), Counter()
    for line in calls.read_text().splitlines():
        call = json.loads(line)
        method, params = call["method"], call["params"]
        seen[method] += 1
        for problem in aiogram_finds(by_name.get(method.lower()), params):
            wrong.append(f"aiogram: {method}: {problem}\n  {line}")
        # It follows the newest Bot API later than aiogram does.
        function = getattr(telegram.Bot, method, None)
        if function is None:
            continue
        seen_by_ptb[method] += 1
        for problem in ptb_finds(function, params):
            wrong.append(f"python-telegram-bot: {method}: {problem}\n  {line}")
    wrong += chats_find(by_name, json.loads(filled.read_text()))
    for name, counted in (("aiogram", seen), ("python-telegram-bot", seen_by_ptb)):
        print(f"{name} has read {sum(counted.values())} calls of {len(counted)} methods")
        if len(counted) < METHODS:
            wrong.append(f"{name}: at least {METHODS} methods were to be called")
    for problem in wrong:
        print(problem)
    return not wrong


def main():
    if sys.argv[1:] == ["methods"]:
        print("\n".join(sorted(kind.__api_method__ for kind in methods().values())))
        return True
    if len(sys.argv) == 4 and sys.argv[1] == "judge":
        return judge(Path(sys.argv[2]), Path(sys.argv[3]))
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
