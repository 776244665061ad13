"""The sample updates of aiogram's and python-telegram-bot's own tests: started by scripts/judges,
which brings both.

Usage: samples.py DIRECTORY      (has their sources)

Writes a line for each: {"from", "update", "expect"}. Nothing of them is kept in this project, and
nothing is called over the network: connecting is an error here.
"""

import importlib
import inspect
import json
import pkgutil
import socket
import sys
import types
import warnings
from collections import Counter
from pathlib import Path

HOME = Path(sys.argv[1])

# The field of an update that an object stands in, by the name of its type.
FIELDS = {
    "Message": ["message", "edited_message", "channel_post", "business_message"],
    "CallbackQuery": ["callback_query"],
    "InlineQuery": ["inline_query"],
    "ChosenInlineResult": ["chosen_inline_result"],
    "ShippingQuery": ["shipping_query"],
    "PreCheckoutQuery": ["pre_checkout_query"],
    "Poll": ["poll"],
    "PollAnswer": ["poll_answer"],
    "ChatMemberUpdated": ["my_chat_member", "chat_member"],
    "ChatJoinRequest": ["chat_join_request"],
    "MessageReactionUpdated": ["message_reaction"],
    "MessageReactionCountUpdated": ["message_reaction_count"],
    "ChatBoostUpdated": ["chat_boost"],
    "ChatBoostRemoved": ["removed_chat_boost"],
    "BusinessConnection": ["business_connection"],
    "BusinessMessagesDeleted": ["deleted_business_messages"],
    "PaidMediaPurchased": ["purchased_paid_media"],
    "ManagedBotUpdated": ["managed_bot"],
}

# Of these a message has at most one, whose file_id must be read.
FILES = ["animation", "audio", "document", "photo", "sticker", "video", "video_note", "voice"]


def no_network(*_, **__):
    raise OSError("no network here")


class Harvest:
    """Updates, each once."""

    def __init__(self):
        self.lines = {}

    def add(self, library, kind, data):
        if kind == "Update":
            if isinstance(data.get("update_id"), int) and len(data) > 1:
                self.put(library, data)
        for field in FIELDS.get(kind, []):
            self.put(library, {"update_id": 1, field: data})

    def put(self, library, update):
        if not self.is_whole(update):
            return
        line = json.dumps(update, sort_keys=True)
        number = len(self.lines) + 1
        update = {**json.loads(line), "update_id": number}
        expect = self.expect(update)
        self.lines.setdefault(line, {"from": library, "update": update, "expect": expect})

    @staticmethod
    def is_whole(update):
        """What Telegram could send: tests also make half of an object."""
        for field, data in update.items():
            if field == "update_id":
                continue
            if not isinstance(data, dict):
                return False
            if field.endswith(("message", "post")) and not isinstance(data.get("chat"), dict):
                return False
            if field == "callback_query" and not ("data" in data or "game_short_name" in data):
                return False
        return True

    @staticmethod
    def expect(update):
        """What must be read of it, told by another program than ours."""
        (field,) = [name for name in update if name != "update_id"][:1]
        data = update[field]
        expect = {"field": field}
        if field in FIELDS["Message"]:
            if "text" in data or "caption" in data:
                expect["text"] = data.get("text") or data.get("caption") or ""
            for name in FILES:
                file = data.get(name)
                file = file[-1] if isinstance(file, list) and file else file
                if isinstance(file, dict) and not data.get("text"):
                    expect["file"] = file["file_id"]
                    break
        if "message_id" in data:
            expect["message"] = str(data["message_id"])
        if isinstance(data.get("from"), dict) and "sender_chat" not in data:
            expect["from"] = str(data["from"]["id"])
        return expect


def modules(root, package):
    """The test modules below a folder, as far as they can be imported."""
    sys.path.insert(0, str(root))
    importlib.import_module(package)
    for found in pkgutil.walk_packages([str(root / package)], package + "."):
        name = found.name.rsplit(".", 1)[-1]
        if not name.startswith("test_") or found.ispkg:
            continue
        try:
            module = importlib.import_module(found.name)
        except BaseException as error:  # pytest.skip is one, too
            print(f"left out: {found.name}: {type(error).__name__} {error}", file=sys.stderr)
            continue
        yield module


def values(value, depth=0):
    """What is in the values that tests are called with."""
    yield value
    if depth < 4 and isinstance(value, (list, tuple, set)):
        for item in value:
            yield from values(item, depth + 1)
    elif depth < 4 and isinstance(value, dict):
        for item in value.values():
            yield from values(item, depth + 1)


def marked(function):
    """What @pytest.mark.parametrize gives a test."""
    marks = getattr(function, "pytestmark", [])
    for mark in marks if isinstance(marks, list) else []:
        if mark.name == "parametrize":
            for given in mark.args[1:]:
                for item in values(given):
                    yield from values(unpacked(item))


def unpacked(param):
    """The values of a pytest.param."""
    return list(param.values) if type(param).__name__ == "ParameterSet" else param


def of_aiogram(harvest):
    from aiogram.types import TelegramObject
    from aiogram.utils.serialization import deserialize_telegram_object_to_python as dump

    root = next(HOME.glob("aiogram-*/"))

    def take(value):
        if not isinstance(value, TelegramObject):
            return
        try:
            data = dump(value)
        except Exception:
            return
        data = json.loads(json.dumps(without_nothing(data), default=str))
        harvest.add("aiogram", type(value).__name__, data)

    for module in modules(root, "tests"):
        for _, member in list(vars(module).items()):
            for value in values(member):
                take(value)
            functions = [member]
            if inspect.isclass(member):
                functions += list(vars(member).values())
            for function in functions:
                for value in marked(function):
                    take(value)
    forget("tests", root)


# What Python has other names for.
ALIASES = {"from_user": "from", "bot_user": "bot"}


def without_nothing(value):
    if isinstance(value, dict):
        return {
            ALIASES.get(name, name): without_nothing(item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, (list, tuple)):
        return [without_nothing(item) for item in value]
    if hasattr(value, "timestamp"):
        return int(value.timestamp())
    return value


def forget(package, root):
    """Another library's tests have the same name."""
    sys.path.remove(str(root))
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def of_python_telegram_bot(harvest):
    import telegram

    root = next(HOME.glob("python_telegram_bot-*/"))
    # The tests' own bots are theirs alone.
    stub = types.ModuleType("tests.auxil.ci_bots")
    stub.BOT_INFO_PROVIDER = types.SimpleNamespace(get_info=lambda: {"token": "1:x"})
    stub.JOB_INDEX = None
    sys.modules["tests.auxil.ci_bots"] = stub
    bot = telegram.Bot("1:x")

    def take(value):
        if isinstance(value, telegram.TelegramObject):
            try:
                data = json.loads(value.to_json())
            except Exception:
                return
            harvest.add("python-telegram-bot", type(value).__name__, data)

    # What their tests read, they read as Telegram would send it.
    for name in [*FIELDS, "Update"]:
        kind = getattr(telegram, name, None)
        if kind is None:
            continue

        def reads(cls, data, bot=None, kind=kind, name=name, whole=kind.de_json.__func__):
            if isinstance(data, dict) and cls is kind:
                copied = json.loads(json.dumps(data, default=str))
                harvest.add("python-telegram-bot", name, copied)
            return whole(cls, data, bot)

        kind.de_json = classmethod(reads)

    for module in modules(root, "tests"):
        fixtures = {}
        for name, member in list(vars(module).items()):
            if type(member).__name__ == "FixtureFunctionDefinition":
                fixtures[name] = member
            for value in values(member):
                take(value)
        made = {"offline_bot": [bot], "bot": [bot]}
        for name, fixture in fixtures.items():
            made[name] = make(fixture, made)
            for value in made[name]:
                take(value)
        for _, member in list(vars(module).items()):
            if inspect.isclass(member) and member.__module__ == module.__name__:
                run_readers(member, made)
    forget("tests", root)


def make(fixture, made):
    """All that a fixture gives."""
    function = fixture._get_wrapped_function()
    params = fixture._fixture_function_marker.params or [None]
    found = []
    for param in params:
        param = unpacked(param)
        param = param[0] if isinstance(param, list) and len(param) == 1 else param
        given = {"request": types.SimpleNamespace(param=param)}
        for name in inspect.signature(function).parameters:
            if name in made and made[name]:
                given.setdefault(name, made[name][0])
        try:
            wanted = inspect.signature(function).parameters
            found.append(function(**{name: given[name] for name in wanted}))
        except BaseException:
            pass
    return found


def run_readers(kind, made):
    """Runs the tests that read JSON, for what they read."""
    for name, function in list(vars(kind).items()):
        if "de_json" not in name or not inspect.isfunction(function):
            continue
        wanted = [one for one in inspect.signature(function).parameters if one != "self"]
        if not all(made.get(one) for one in wanted):
            continue
        try:
            function(kind(), **{one: made[one][0] for one in wanted})
        except BaseException:
            # Whatever they assert is not ours to judge.
            pass


def write_updates():
    warnings.simplefilter("ignore")
    harvest = Harvest()
    of_aiogram(harvest)
    of_python_telegram_bot(harvest)
    kinds = Counter()
    for line in harvest.lines.values():
        kinds[line["from"], line["expect"]["field"]] += 1
        print(json.dumps(line))
    for (library, field), count in sorted(kinds.items()):
        print(f"{library}: {count} {field}", file=sys.stderr)
    return len(kinds) >= 20


def main():
    socket.socket.connect = no_network
    return write_updates()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
