"""What pywa (https://pypi.org/project/pywa) makes of the same meanings: a line of JSON for
each, then for each body on stdin what it reads in it. Started by the unit test of
src/channels/tests/whatsapp/judged.rs; nothing is called over the network."""

import json
import sys

import httpx
from pywa import WhatsApp, types
from pywa.types.base_update import RawUpdate

USER = "US.13491208655302741918"
sent = []


def take(request):
    sent.append(json.loads(request.content))
    return httpx.Response(
        200,
        json={
            "messaging_product": "whatsapp",
            "contacts": [{"input": "1", "wa_id": "1"}],
            "messages": [{"id": "wamid.X"}],
        },
    )


client = httpx.Client(
    transport=httpx.MockTransport(take), base_url="https://graph.facebook.com/v26.0"
)
wa = WhatsApp(phone_id="106540352242922", token="t", session=client)
rows = [types.SectionRow(f"B{n}", str(n)) for n in range(4)]
name = types.Contact.Name(formatted_name="Ann", first_name="Ann")
card = types.Contact(name=name, phones=[types.Contact.Phone(phone="+431", type="CELL")])
url = "https://e.org/a.jpg"

wa.send_message(USER, "hi", preview_url=True, reply_to_message_id="wamid.1")
wa.send_message(USER, "?", buttons=[types.Button(f"B{n}", str(n)) for n in range(3)])
wa.send_message(USER, "?", buttons=types.SectionList("☰", [types.Section("s", rows)]))
wa.send_message(USER, "?", buttons=types.URLButton("The menu", "https://e.org/menu"))
wa.send_image(USER, url, caption="c")
wa.send_image(USER, url, caption="c", buttons=[types.Button("Yes", "1")])
wa.send_document(USER, "https://e.org/bill.pdf", filename="bill.pdf")
wa.send_video(USER, "https://e.org/a.mp4", caption="c")
wa.send_audio(USER, "https://e.org/a.mp3")
wa.send_voice(USER, "https://e.org/a.ogg")
wa.send_sticker(USER, "https://e.org/a.webp")
wa.send_location(USER, 48.2, 16.37, "Café", "A 5")
wa.request_location(USER, "Where?")
wa.request_contact_info(USER, "Call?")
wa.send_contact(USER, card)
print(json.dumps(sent))



def first(items):
    return next(iter(items or []), None)


def read(update):
    """What a body says, by pywa's own names turned into ours."""
    kind = {
        "Message": "message",
        "CallbackButton": "button",
        "CallbackSelection": "button",
        "EditedMessage": "edited",
    }.get(type(update).__name__, "other")
    said = update.message if kind == "edited" else update
    get = lambda name: getattr(said, name, None)
    reaction, quoted, place = get("reaction"), get("reply_to_message"), get("location")
    if reaction:
        kind = "reaction"
    elif get("unsupported"):
        kind = "other"
    elif get("type") == "request_welcome":
        kind = "opened"
    file = next(filter(None, map(get, ["image", "video", "document", "audio", "sticker"])), None)
    card = first(get("contacts"))
    text = get("text") or get("caption") or (reaction and reaction.emoji) or ""
    about = update.id
    if kind == "button":
        about, text = quoted.id, get("data")
    elif reaction:
        about = reaction.message_id
    elif hasattr(update, "original_message_id"):
        about = update.original_message_id
    return {
        "kind": kind,
        "id": update.id,
        "user": update.from_user.bsuid,
        "name": update.from_user.name,
        "text": text,
        "file": file and file.id,
        "place": place and [place.latitude, place.longitude],
        "phone": card and first(card.phones).phone,
        "data": get("data"),
        "about": about,
        "quoted": quoted.id if quoted and kind != "button" else None,
        "forwarded": bool(get("forwarded")),
    }


for body in sys.stdin:
    raw = RawUpdate(body.encode(), hmac_header=None, update_hash="x")
    kind = wa._handlers_to_updates[wa._get_handler_type(raw)]
    print(json.dumps(read(kind.from_update(wa, raw))))
