"""Makes docs/images/report.jpg: the page of `camscope explain --report` in headless Chromium.

    python docs/images/report.py CAMSCOPE [COUNT]

It needs the camscope program, chromium and chromedriver on the PATH, and Pillow. The photos are parts of those in samples/. With COUNT it
makes a page of so many photos, and prints how long it takes to load at the widths of a desktop and of a phone; the picture is
written without COUNT only.
"""

import base64
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = 9765
SHOW = """
const box = document.getElementById("always");
box.checked = true;
box.dispatchEvent(new Event("change"));
"""


def photos(folder, count):
    names = ["chelsea", "coffee", "rocket", "astronaut", "cat_and_coffee"]
    whole = [Image.open(ROOT / f"samples/{name}.jpg").convert("RGB") for name in names]
    folder.mkdir()
    for number in range(count):
        photo = whole[number % len(whole)]
        share = 0.65 + 0.35 * ((number * 37) % 100) / 100
        width, height = int(photo.width * share), int(photo.height * share)
        left = number * 53 % (photo.width - width + 1)
        top = number * 31 % (photo.height - height + 1)
        part = photo.crop((left, top, left + width, top + height)).resize((300, 300 * height // width))
        part.save(folder / f"{names[number % len(names)]}_{number:04}.jpg", quality=85)


def call(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    request.method = method or ("GET" if body is None else "POST")
    return json.load(urllib.request.urlopen(request, timeout=120))["value"]


def shots(page):
    """The page at each width: its name, milliseconds to load, and a PNG."""
    driver = subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                call("/status")
                break
            except OSError:
                time.sleep(0.1)
        for name, width, height, scheme in [("desktop", 1280, 860, "light"), ("phone", 390, 844, "dark")]:
            options = {"args": ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]}
            if name == "phone":
                metrics = {"width": width, "height": height, "pixelRatio": 2, "touch": True}
                options["mobileEmulation"] = {"deviceMetrics": metrics}
            asked = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = "/session/" + call("/session", {"capabilities": {"alwaysMatch": asked}})["sessionId"]
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            media = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
            call(session + "/goog/cdp/execute", media)
            call(session + "/url", {"url": page.as_uri()})

            def script(text):
                return call(session + "/execute/sync", {"script": text, "args": []})

            took = script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
            wider = script("return document.documentElement.scrollWidth - innerWidth")
            said = call(session + "/se/log", {"type": "browser"})
            assert wider <= 0 and not said, (name, wider, said)
            script(SHOW)
            time.sleep(1.5)
            yield name, took, base64.b64decode(call(session + "/screenshot"))
            call(session, method="DELETE")
    finally:
        driver.terminate()


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        photos(folder / "photos", count or 20)
        (folder / "net.onnx").write_bytes((ROOT / "models/efficientnet-lite0.onnx").read_bytes())
        command = "explain net.onnx photos --ep cpu --report page"
        subprocess.run([program, *command.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        parts = {}
        for name, took, png in shots(folder / "page/index.html"):
            print(f"{name}: {took:.0f} ms")
            parts[name] = Image.open(io.BytesIO(png)).convert("RGB")
    if count is None:
        desktop, phone = parts["desktop"], parts["phone"]
        phone = phone.resize((phone.width * desktop.height // phone.height, desktop.height))
        sheet = Image.new("RGB", (desktop.width + phone.width + 24, desktop.height), "white")
        sheet.paste(desktop, (0, 0))
        sheet.paste(phone, (desktop.width + 24, 0))
        sheet.save(ROOT / "docs/images/report.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
