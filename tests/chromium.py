# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven by its DevTools protocol over two pipes: no driver, no port, no package."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu")
_SECONDS = 120  # that anything may take, on a machine with other things to do


class Page:
  """A page in a browser of its own.

  Args:
    send: writes a message.
    receive: reads a message.

  Attributes:
    said: what the page has written to the console, errors included.
  """

  def __init__(self, send, receive):
    self._send, self._receive, self._number, self._session, self.said = send, receive, 0, None, []
    target = self.call("Target.createTarget", url="about:blank")["targetId"]
    self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log"):
      self.call(f"{domain}.enable")

  def call(self, method, **params):
    """The result of a method of the protocol."""
    self._number += 1
    self._send({"id": self._number, "method": method, "params": params} | (
        {"sessionId": self._session} if self._session else {}))
    while (message := self._receive()).get("id") != self._number:
      if message["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
        self.said.append(message["params"])
    assert "error" not in message, message
    return message["result"]

  def open(self, url):
    self.call("Page.navigate", url=url)

  def value(self, expression):
    """The value of an expression of JavaScript, a promise's too."""
    result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
    assert "exceptionDetails" not in result, result
    return result["result"].get("value")

  def wait(self, expression):
    """Until an expression is true; what it needs need not be there yet."""
    end = time.monotonic() + _SECONDS
    while not self.value(f"(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()"):
      assert time.monotonic() < end, (expression, self.value("document.body.innerText"), self.said)
      time.sleep(0.02)

  def key(self, name, text=None):
    """Presses a key; `text` is what it types."""
    text = text if text is not None else name if len(name) == 1 else ""
    self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **({"text": text} if text else {}))
    self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

  def click(self, element):
    """Clicks into the middle of what an expression gives, as a mouse does."""
    x, y = self.value(f"(e => {{ e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); "
                      f"return [r.x + r.width / 2, r.y + r.height / 2]; }})({element})")
    for kind in ("mousePressed", "mouseReleased"):
      self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def _pipe():
  """The ends of a pipe, neither of which is 3 or 4."""
  ends = os.pipe()
  others = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
  for end in ends:
    os.close(end)
  return others


@contextlib.contextmanager
def opened(folder: pathlib.Path):
  """A Page; the browser keeps its files in a folder."""
  (to_read, told), (heard, to_write) = _pipe(), _pipe()
  # It reads from 3 and writes to 4, which a shell arranges.
  process = subprocess.Popen(
      ["bash", "-c", f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}', PROGRAM, *FLAGS, "--remote-debugging-pipe",
       f"--user-data-dir={folder}"], pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  os.close(to_read)
  os.close(to_write)
  with open(told, "wb") as out, open(heard, "rb") as into:
    rest = bytearray()

    def send(message):
      out.write(json.dumps(message).encode() + b"\0")
      out.flush()

    def receive():
      while b"\0" not in rest:
        some = into.read1()
        assert some, "the browser has ended"
        rest.extend(some)
      text, _, after = rest.partition(b"\0")
      rest[:] = after
      return json.loads(text)

    try:
      page = Page(send, receive)
      yield page
      page.call("Browser.close")
      process.wait(_SECONDS)  # until it has written all of its files
    finally:
      process.kill()
      process.wait()
