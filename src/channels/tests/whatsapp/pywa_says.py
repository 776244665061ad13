"""What pywa (https://pypi.org/project/pywa) makes of the same meanings: a line of JSON for
each, and of each body on stdin what it reads in it. Run by whatsapp.rs."""

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
wa.send_voice(USER, "https://e.org/a.ogg")
wa.send_sticker(USER, "https://e.org/a.webp")
wa.send_location(USER, 48.2, 16.37, "Café", "A 5")
wa.request_location(USER, "Where?")
wa.request_contact_info(USER, "Call?")
wa.send_contact(USER, card)
print(json.dumps(sent))

for body in sys.stdin:
    update = RawUpdate(body.encode(), hmac_header=None, update_hash="x")
    message = types.Message.from_update(wa, update)
    read = [message.id, message.from_user.bsuid, message.type.value]
    print(json.dumps(read + [message.text or message.caption or ""]))
