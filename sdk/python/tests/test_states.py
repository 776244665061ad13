"""States that are dataclasses, and replies as values."""

from __future__ import annotations

import dataclasses
import enum
import sys
import unittest
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Union

import fake  # noqa: F401 (puts nothing on the path by itself)

sys.path.insert(0, fake.SOURCE)

import turnkey  # noqa: E402
from turnkey._state import states_of  # noqa: E402


class Step(enum.Enum):
    START = "start"
    PAY = "pay"


@dataclass
class Item:
    name: str = ""
    price: float = 0.0
    tags: List[str] = field(default_factory=list)


@dataclass
class Visitor:
    hour: Optional[str] = None
    visits: int = 0
    cart: List[Item] = field(default_factory=list)
    seen: Dict[str, Item] = field(default_factory=dict)
    step: Step = Step.START
    place: Tuple[int, int] = (0, 0)
    names: Tuple[str, ...] = ()
    either: Union[int, str] = 0
    anything: Any = None
    bare: list = field(default_factory=list)
    friend: Optional["Visitor"] = None
    vip: bool = False


@dataclass(frozen=True)
class Frozen:
    count: int = 0
    double: int = field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "double", self.count * 2)


class DataclassStates(unittest.TestCase):
    states = states_of(Visitor)

    def test_a_new_user_has_the_defaults(self):
        self.assertEqual(self.states.read(None), Visitor())

    def test_what_is_written_comes_back_equal(self):
        visitor = Visitor(
            "Mon 10:00", 2**60, [Item("tea", 2, ["hot"])], {"a": Item()}, Step.PAY, (1, 2),
            ("x", "y"), "text", [1, {"k": None}], [1, "x"], Visitor("Tue"), True,
        )  # fmt: skip
        stored = self.states.write(visitor)
        self.assertEqual(stored["cart"], [{"name": "tea", "price": 2.0, "tags": ["hot"]}])
        self.assertEqual((stored["step"], stored["place"]), ("pay", [1, 2]))
        self.assertEqual(self.states.read(stored), visitor)

    def test_unknown_keys_are_dropped_and_missing_ones_have_defaults(self):
        visitor = self.states.read({"hour": "Mon", "old": 1, "cart": [{"name": "tea", "old": 2}]})
        self.assertEqual(visitor, Visitor("Mon", cart=[Item("tea")]))
        self.assertNotIn("old", self.states.write(visitor))

    def test_other_types_are_refused_in_both_directions(self):
        for name, value, sentence in (
            ("visits", "7", "state.visits is '7' (str), and not int"),
            ("visits", True, "state.visits is True (bool), and not int"),
            ("visits", 1.5, "state.visits is 1.5 (float), and not int"),
            ("hour", 7, "state.hour is 7 (int), and not Optional[str]"),
            ("cart", {}, "state.cart is {} (dict), and not a list"),
            ("place", [1], "state.place is [1] (list), and not 2 values"),
            ("vip", 1, "state.vip is 1 (int), and not bool"),
            ("names", ["x", None], "state.names"),
        ):
            with self.subTest(name=name, value=value):
                with self.assertRaisesRegex(TypeError, "state") as caught:
                    self.states.read({name: value})
                if name != "names":
                    self.assertEqual(str(caught.exception).replace("Union[str, NoneType]", "Optional[str]").replace("str | None", "Optional[str]"), sentence)
                with self.assertRaises(TypeError):
                    self.states.write(dataclasses.replace(Visitor(), **{name: value}))
        with self.assertRaisesRegex(TypeError, r"state\.cart\[1\]\.price is 'x' \(str\), and not float"):
            self.states.write(Visitor(cart=[Item(), Item(price="x")]))
        with self.assertRaisesRegex(TypeError, r"state\.friend\.visits is 'x' \(str\)"):
            self.states.read({"friend": {"visits": "x"}})
        with self.assertRaisesRegex(TypeError, r'state\.anything\["a"\] is \{1\} \(set\)'):
            self.states.write(Visitor(anything={"a": {1}}))
        with self.assertRaisesRegex(ValueError, r"state\.cart\[0\]\.price is nan"):
            self.states.write(Visitor(cart=[Item(price=float("nan"))]))
        with self.assertRaisesRegex(TypeError, "state is {} .dict., and not Visitor"):
            self.states.write({})
        with self.assertRaisesRegex(TypeError, "state.step is 'gone' .str., and not a value of Step"):
            self.states.read({"step": "gone"})

    def test_frozen_ones_and_fields_that_init_does_not_take(self):
        states = states_of(Frozen)
        self.assertEqual(states.write(Frozen(2)), {"count": 2, "double": 4})
        self.assertEqual(states.read({"count": 2, "double": 4}), Frozen(2))

    def test_none_forgets_the_user(self):
        self.assertIsNone(self.states.write(None))

    @unittest.skipIf(sys.version_info < (3, 10), "Python 3.10 has int | None")
    def test_new_unions(self):
        made = dataclasses.make_dataclass("New", [("a", "int | None", None), ("b", "list[int]", field(default_factory=list))])
        states = states_of(made)
        self.assertEqual(states.read({"a": 7, "b": [1]}), made(7, [1]))


class Replies(unittest.TestCase):
    def test_one_that_is_only_a_text_equals_it(self):
        self.assertEqual(turnkey.Reply("hi"), "hi")
        self.assertEqual("hi", turnkey.Reply("hi"))
        self.assertEqual([turnkey.Reply("hi")], ["hi"])
        self.assertNotEqual(turnkey.Reply("hi").button("a", "b"), "hi")
        self.assertNotEqual(turnkey.Reply("hi", photo="x"), "hi")
        self.assertEqual({turnkey.Reply("hi"), "hi"}, {"hi"})

    def test_it_never_changes(self):
        question = turnkey.Reply("Tea?")
        both = question.button("Yes", "1").button("No", "0")
        self.assertEqual(question.buttons, ())
        yes, no = turnkey.Button("Yes", "1"), turnkey.Button("No", "0")
        self.assertEqual(both.buttons, ((yes,), (no,)))
        self.assertEqual(question.row(yes, no).row(no).buttons, ((yes, no), (no,)))
        self.assertEqual(both, turnkey.Reply("Tea?", buttons=[("Yes", "1"), ("No", "0")]))
        self.assertEqual(repr(both), "Reply('Tea?', buttons=[(Button('Yes', '1'),), (Button('No', '0'),)])")
        with self.assertRaises(AttributeError):
            question.text = "x"

    def test_all_can_be_read_again(self):
        options = {
            "format": "html",
            "location": turnkey.Location(1, 2.5),
            "contact": turnkey.Contact("+43", "Ann"),
            "keyboard": (("a", turnkey.Button.request_location("b")),),
            "once": True,
            "quote": turnkey.Message("7"),
            "silent": True,
            "no_preview": True,
            "protected": True,
            "name": "menu",
        }
        reply = turnkey.Reply("A cat", photo="https://x", document=turnkey.Attachment(b"1", name="n"), **options)
        photo, document = reply.files
        self.assertEqual((photo.type, photo.url, photo.data), ("photo", "https://x", None))
        self.assertEqual((document.type, document.data, document.name), ("document", b"1", "n"))
        self.assertEqual(reply.keyboard[0][0], turnkey.Button("a"))
        for name, value in options.items():
            if name != "keyboard":
                self.assertEqual(getattr(reply, name), value, name)
        bare = turnkey.Reply("x")
        for name in ("files", "buttons", "keyboard", "quote", "silent", "once", "remove_keyboard", "name"):
            self.assertFalse(getattr(bare, name), name)

    def test_escaped_text(self):
        self.assertEqual(turnkey.escape("a*b_c (d), e?"), "a\\*b\\_c \\(d\\), e?")


if __name__ == "__main__":
    unittest.main()
