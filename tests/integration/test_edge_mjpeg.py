"""JPEGs over HTTP as cameras really send them: with odd boundaries, types and lengths, as streams and as snapshots."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import cv2
import numpy as np
import pytest

from edge.worker.source import Reader
from edge.worker.video import open_stream
from framematch.core.errors import CameraUnavailableError

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\n"
LEVELS = (40, 120, 200)


def jpeg(level: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()


def parts(boundary: bytes, header: Callable[[bytes], bytes], *, first: bool = True) -> bytes:
    """The three pictures as the parts of a multipart message."""
    body = b""
    for number, level in enumerate(LEVELS):
        picture = jpeg(level)
        body += (boundary + b"\r\n" if first or number else b"") + header(picture) + b"\r\n" + picture + b"\r\n"
    return body


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def usual(picture: bytes) -> bytes:
    return b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(picture)


def of_type(content_type: bytes, body: bytes) -> bytes:
    return OK + b"Content-Type: " + content_type + b"\r\n\r\n" + body


MIXED = b"multipart/x-mixed-replace; boundary="
CHUNKED = OK + b"Transfer-Encoding: chunked\r\nContent-Type: " + MIXED + b"x\r\n\r\n"
ANSWERS = {
    "as in the standard": of_type(MIXED + b"frame", parts(b"--frame", usual)),
    "no first boundary": of_type(MIXED + b"frame", parts(b"--frame", usual, first=False)),
    "parts without headers": of_type(MIXED + b"frame", parts(b"--frame", lambda _: b"")),
    "image/jpg": of_type(MIXED + b"frame", parts(b"--frame", lambda _: b"Content-Type: image/jpg\r\n")),
    "no length": of_type(MIXED + b"frame", parts(b"--frame", lambda _: b"Content-Type: image/jpeg\r\n")),
    "a length that is too small": of_type(MIXED + b"x", parts(b"--x", lambda _: b"Content-Length: 10\r\n")),
    "a length that is too large": of_type(MIXED + b"x", parts(b"--x", lambda _: b"Content-Length: 99999\r\n")),
    "a boundary in quotes": of_type(MIXED + b'"a b:c"', parts(b"--a b:c", usual)),
    "a boundary that begins with dashes": of_type(MIXED + b"--frame", parts(b"--frame", usual)),
    "another boundary than announced": of_type(MIXED + b"frame", parts(b"--other", usual)),
    "no boundary announced": of_type(b"multipart/x-mixed-replace", parts(b"--frame", usual)),
    "multipart/mixed": of_type(b"multipart/mixed; boundary=x", parts(b"--x", usual)),
    "type in capitals": of_type(b"Multipart/X-Mixed-Replace;boundary=x", parts(b"--x", usual)),
    "no type": OK + b"\r\n" + parts(b"--frame", usual),
    "a wrong type": of_type(b"text/html", parts(b"--frame", usual)),
    "white space first": of_type(b"application/octet-stream", b"\r\n" + parts(b"--frame", usual)),
    "pictures one after the other": of_type(b"application/octet-stream", b"".join(map(jpeg, LEVELS))),
    "pictures as image/jpeg": of_type(b"image/jpeg", b"".join(map(jpeg, LEVELS))),
    "chunked": CHUNKED + chunked(parts(b"--x", usual)) + b"0\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Type: " + MIXED + b"x\r\n\r\n" + parts(b"--x", usual),
}


@contextmanager
def server(answer: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A server whose `answer` serves each connection; gets the number of connections before it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            number = 0
            with contextlib.suppress(OSError):  # the listener is closed at the end
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):  # the reader may go
                        connection.recv(65_536)
                        answer(connection, number)
                    number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def opened(url: str, *, open_timeout_s: float = 20.0, read_timeout_s: float = 20.0, fps: float = 50.0) -> Reader:
    return open_stream(url, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s, fps=fps)


def level_of(reader: Reader) -> int | None:
    """The brightness of the next picture; None if it is damaged."""
    grabbed = reader.grab()
    assert grabbed is not None
    raw = reader.retrieve()
    return None if grabbed.damaged or raw is None else round(float(raw.colour(640).mean()))


def until_the_end(reader: Reader) -> tuple[list[int | None], str]:
    levels = []
    try:
        while True:
            levels.append(level_of(reader))
    except CameraUnavailableError as ended:
        return levels, ended.message


@pytest.mark.parametrize("name", ANSWERS)
def test_every_picture_of_a_stream_is_read(name: str) -> None:
    with server(lambda connection, _: connection.sendall(ANSWERS[name])) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([40, 120, 200], "stream ended")


def test_a_connection_that_breaks_within_a_chunk_is_lost() -> None:
    answer = CHUNKED + chunked(parts(b"--x", usual))
    with server(lambda connection, _: connection.sendall(answer)) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([40, 120, 200], "connection lost")


def test_a_picture_comes_before_the_next_one_begins() -> None:
    stopping = threading.Event()

    def one_picture(connection: socket.socket, _: int) -> None:
        connection.sendall(of_type(MIXED + b"x", b"--x\r\n\r\n" + jpeg(40)))
        stopping.wait()

    with server(one_picture) as url, closing(opened(url)) as reader:
        assert level_of(reader) == 40
        stopping.set()


def test_a_picture_that_breaks_off_is_damaged_and_the_next_one_is_read() -> None:
    body = b"--x\r\n\r\n" + jpeg(40)[:-30] + b"\r\n--x\r\n\r\n" + jpeg(120)
    answer = of_type(MIXED + b"x", body)
    with server(lambda connection, _: connection.sendall(answer)) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([None, 120], "stream ended")


def test_a_server_that_sends_nothing_but_damage_is_a_failure_with_a_reason() -> None:
    def broken(connection: socket.socket, _: int) -> None:
        connection.sendall(of_type(MIXED + b"x", b""))
        while True:
            connection.sendall(b"--x\r\n\r\n" + jpeg(40)[:-30])
            time.sleep(0.02)  # the pace of the server

    with server(broken) as url, closing(opened(url, read_timeout_s=0.3)) as reader:
        levels, reason = until_the_end(reader)
    assert set(levels) == {None}
    assert reason == "no decodable frame for 0.9 s"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_of_which_the_camera_sent_half_is_damaged_although_it_has_an_end(progressive: bool) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[1].tobytes()
    half = whole[: len(whole) // 2] + b"\xff\xd9"
    answer = of_type(MIXED + b"x", b"--x\r\n\r\n" + half + b"\r\n--x\r\n\r\n" + jpeg(120))
    with server(lambda connection, _: connection.sendall(answer)) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([None, 120], "stream ended")


def test_a_snapshot_is_requested_again_and_again() -> None:
    def snapshot(connection: socket.socket, number: int) -> None:
        picture = jpeg(LEVELS[number % 3])
        connection.sendall(OK + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture)

    with server(snapshot) as url, closing(opened(url)) as reader:
        assert [level_of(reader) for _ in range(5)] == [40, 120, 200, 40, 120]


def test_a_snapshot_that_fails_later_is_a_failure_with_its_reason() -> None:
    def once(connection: socket.socket, number: int) -> None:
        gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(gone if number else of_type(b"image/jpeg", jpeg(40)))

    with server(once) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([40], "404: no such stream")


@pytest.mark.parametrize("kind", [b"image/jpeg", MIXED + b"x"])
@pytest.mark.parametrize("body", [b"", b"<html>Please log in</html>"])
def test_a_server_that_sends_no_picture_is_a_failure_with_a_reason(kind: bytes, body: bytes) -> None:
    answer = of_type(kind, body)
    with server(lambda connection, _: connection.sendall(answer)) as url, closing(opened(url)) as reader:
        assert until_the_end(reader) == ([], "sends no JPEG pictures")


def test_a_page_instead_of_a_video_is_refused() -> None:
    answer = of_type(b"text/html", b"<html>Please log in</html>" * 100)
    with (
        server(lambda connection, _: connection.sendall(answer)) as url,
        pytest.raises(CameraUnavailableError, match="not a video that can be decoded"),
    ):
        opened(url)


def trickle(start: bytes) -> Callable[[socket.socket, int], None]:
    """Answers at once, and sends one byte every now and then, for ever."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"\0")
            time.sleep(0.02)  # the pace of the server

    return answer


@pytest.mark.parametrize("kind", [b"video/mp2t", b"application/octet-stream"])
def test_a_server_that_trickles_is_given_up_in_time(kind: bytes) -> None:
    with (
        server(trickle(of_type(kind, b""))) as url,
        pytest.raises(CameraUnavailableError, match=r"no answer for 0\.5 s"),
    ):
        opened(url, open_timeout_s=0.5)


def test_a_picture_that_trickles_is_given_up_after_the_timeout() -> None:
    with (
        server(trickle(of_type(MIXED + b"x", b"--x\r\n\r\n" + jpeg(40)[:100]))) as url,
        closing(opened(url, read_timeout_s=0.5)) as reader,
    ):
        assert until_the_end(reader) == ([], "no frame for 0.5 s")
