"""What no client sends, on raw connections: each gets a clear error, changes nothing, and the service goes on.

Reads from standard input what the service is, as JSON: {"service": {"url", "user", "password", "ca"}}. Standard library only. Prints
each attack's name when it has failed; the first that has any effect ends the run with a traceback.
"""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time
import urllib.parse

ATTACKS = []
# How long the service may take to be rid of a connection that does not get on.
PATIENCE = 60
COLLECTIONS = (
    "cluster",
    "cluster/nodes?fields=**",
    "security/barbican-kms?fields=*",
    "security/certificates?fields=**",
    "security/key-manager-configs?fields=**",
    # Its backup is sealed anew each time that it is shown.
    "security/key-managers?fields=enabled,onboard.enabled,volume_encryption",
    "security/key-stores?fields=**",
    "storage/volumes?fields=**",
    "svm/svms?fields=**",
)


def attack(function):
    ATTACKS.append(function)
    return function


class Service:
    def __init__(self, told):
        service = told["service"]
        address = urllib.parse.urlsplit(service["url"])
        self.host, self.port = address.hostname, address.port
        credential = base64.b64encode(f"{service['user']}:{service['password']}".encode()).decode()
        self.authorization = f"Authorization: Basic {credential}\r\n".encode()
        self.context = ssl.create_default_context(cafile=service["ca"])

    def connect(self):
        plain = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        return self.context.wrap_socket(plain, server_hostname=self.host)

    def raw(self, request, patience=PATIENCE):
        """Sends bytes and reads the answer: its status, header and body. The status is 0 where there is none."""
        with self.connect() as connection:
            connection.settimeout(patience)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
                connection.sendall(request)
            return read_answer(connection)

    def head(self, line, *fields):
        fields = b"".join(field + b"\r\n" for field in fields)
        return line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + self.authorization + fields + b"\r\n"

    def send(self, method, path, body=None, content_type="application/json"):
        body = b"" if body is None else body
        length = f"Content-Length: {len(body)}".encode()
        line = f"{method} /api/{path}".encode()
        return self.raw(self.head(line, length, f"Content-Type: {content_type}".encode()) + body)

    def refuses(self, answer, status, code="2"):
        """The answer is this error, in the contract's shape, and says something."""
        found, header, body = answer
        if found != status:
            raise AssertionError(f"answered {found}, not {status}: {body[:300]!r}")
        error = json.loads(body)["error"]
        if error["code"] != code or len(error["message"]) < 10:
            raise AssertionError(f"answered {error}, not code {code}")
        if header.get("content-type") != "application/json":
            raise AssertionError(f"an error of type {header.get('content-type')}")

    def snapshot(self):
        """All that there is to see; jobs come and go."""
        found = {}
        for collection in COLLECTIONS:
            status, _, body = self.send("GET", collection)
            if status != 200:
                raise AssertionError(f"GET {collection}: {status} {body[:300]!r}")
            found[collection] = json.loads(body)
        return found


def read_answer(connection):
    try:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        header = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, header, answer.read()
    except (http.client.HTTPException, ConnectionError, ssl.SSLError):
        return 0, {}, b""


@attack
def json_that_is_none(service):
    bodies = (b"{", b"{]", b"[]", b"null", b'"x"', b"7", b'{"name": }', b"{'name': 'x'}", b'{"name": "x"} x', b"\x00")
    for body in (*bodies, b"{" * 100_000, b"[" * 100_000, b'{"a":' * 50_000, b'{"name": NaN}', b"1e999999"):
        service.refuses(service.send("POST", "svm/svms", body), 400)


@attack
def values_of_wrong_types(service):
    for value in ("7", "true", "[]", "{}", "[{}]", "1.5", "-1", '["x"]', "1e400", "9" * 4000):
        service.refuses(service.send("POST", "svm/svms", f'{{"name": {value}}}'.encode()), 400)
    for body in ('{"onboard": "x"}', '{"onboard": [1]}', '{"onboard": {"passphrase": 7}}', '{"svm": {"name": {}}}'):
        service.refuses(service.send("POST", "security/key-managers", body.encode()), 400)
    for body in ('{"size": "many"}', '{"encryption": {"enabled": "yes"}}', '{"size": 1e30}', '{"aggregates": {}}'):
        service.refuses(service.send("POST", "storage/volumes", body.encode()), 400)


@attack
def fields_that_are_not_there(service):
    for body in ({"name": "x", "colour": "red"}, {"name": "x", "uuid": "x"}, {"nam": "x"}, {"": ""}, {"name.x": 1}):
        service.refuses(service.send("POST", "svm/svms", json.dumps(body).encode()), 400)
    service.refuses(service.send("POST", "svm/svms?colour=red", b'{"name": "x"}'), 400)
    service.refuses(service.send("GET", "svm/svms?fields=colour"), 400)
    service.refuses(service.send("GET", "svm/svms?fields=__proto__"), 400)


@attack
def names_that_are_none(service):
    for name in ("", " ", "a/b", "../x", "a\x00b", "a\r\nb", "x" * 5000, "\u202ex", "a\U0001f512", "*", "<script>"):
        answer = service.send("POST", "svm/svms", json.dumps({"name": name}).encode())
        service.refuses(answer, 400)


@attack
def bytes_that_are_no_text(service):
    for body in (b'{"name": "\xff\xfe"}', b'{"name": "\xc3"}', b'{"\xed\xa0\x80": 1}', b'{"name": "\\ud800"}', b"\xfe\xff"):
        service.refuses(service.send("POST", "svm/svms", body), 400)
    # In an address they are bytes that name nothing.
    for path in ("svm/svms/%ff%fe", "svm/svms/%00", "svm/svms/%e2%80%ae", "svm/svms?name=%ff", "svm/svms?%ff=1"):
        status, _, body = service.send("GET", path)
        if status not in (200, 400, 404) or (status == 200 and json.loads(body)["num_records"]):
            raise AssertionError(f"GET {path}: {status} {body[:200]!r}")


@attack
def bodies_of_ten_megabytes(service):
    for method, path in (("POST", "svm/svms"), ("PATCH", "security/key-managers"), ("DELETE", "svm/svms")):
        body = b'{"name": "' + b"x" * 10_000_000 + b'"}'
        service.refuses(service.send(method, path, body), 413)
    # Without its body, the answer is there to be read.
    length = b"Content-Length: 10000000"
    service.refuses(service.raw(service.head(b"POST /api/svm/svms", length)), 413)
    chunk = b"%x\r\n" % 65_536 + b" " * 65_536 + b"\r\n"
    endless = service.head(b"POST /api/svm/svms", b"Transfer-Encoding: chunked") + chunk * 160
    service.refuses(service.raw(endless), 413)


@attack
def addresses_that_climb(service):
    paths = ("../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "svm/../../../../etc/passwd", "%2e%2e/%2e%2e/etc")
    for path in (*paths, "svm/svms/..%5c..%5cx", "svm/svms/....//x", "svm/svms/..;/x", "//etc/passwd", "svm//svms"):
        status, _, body = service.send("GET", path)
        if status not in (400, 404) or b"root:" in body:
            raise AssertionError(f"GET {path}: {status} {body[:200]!r}")
        json.loads(body)
    for path in ("svm/svms/../svms", "svm/svms/%2e%2e", "svm/svms/not-a-uuid", "svm/svms/" + "0" * 8000):
        status, _, _ = service.send("DELETE", path)
        if status not in (400, 404, 405, 414):
            raise AssertionError(f"DELETE {path}: {status}")


@attack
def headers_in_values(service):
    """What a request puts into an answer's header must not make another one of it."""
    name = "svm\r\nX-Injected: yes"
    answers = [
        service.send("POST", "svm/svms", json.dumps({"name": name}).encode()),
        service.send("GET", "svm/svms?name=x%0d%0aX-Injected:%20yes&fields=name"),
        service.send("GET", "svm/svms/x%0d%0aX-Injected:%20yes"),
        service.raw(service.head(b"GET /api/svm/svms", b"Accept: application/json\nX-Injected: yes")),
        service.raw(service.head(b"GET /api/svm/svms", b"X-Dot-SVM-Name: x\x00y")),
        service.raw(service.head(b"GET /api/svm/svms", b"X-Dot-SVM-Name: \xff\xfe")),
    ]
    for status, header, _ in answers:
        if status >= 500 or "x-injected" in header:
            raise AssertionError(f"{status} {header}")


@attack
def requests_that_are_two(service):
    """A request that two readers would cut in two places is refused, and nothing behind it is run."""
    hidden = b"POST /api/svm/svms HTTP/1.1\r\nHost: x\r\n" + service.authorization
    hidden += b'Content-Length: 18\r\n\r\n{"name": "hidden"}'
    both = (b"Content-Length: 4", b"Transfer-Encoding: chunked")
    twice = (b"Content-Length: 0", b"Content-Length: %d" % len(hidden))
    for fields in (both, twice, (b"Transfer-Encoding: chunked, identity",), (b"Content-Length: -1",)):
        line = service.head(b"GET /api/svm/svms", *fields).replace(b"Connection: close\r\n", b"")
        status, _, _ = service.raw(line + b"0\r\n\r\n" + hidden, patience=3) if fields != twice else service.raw(line + hidden)
        if status >= 500:
            raise AssertionError(f"{fields}: {status}")


@attack
def lines_that_are_not_http(service):
    for request in (b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n"):
        status, _, _ = service.raw(request + b"\r\n" * 4, patience=20)
        if status not in (0, 400, 404, 505):
            raise AssertionError(f"{request!r}: {status}")
    for line, statuses in ((b"GET /api/" + b"x" * 100_000, (0, 400, 404, 414, 431)), (b"BREW /api/svm/svms", (405,))):
        status, _, _ = service.raw(service.head(line))
        if status not in statuses:
            raise AssertionError(f"{line[:40]!r}: {status}")
    many = [b"X-%d: x" % number for number in range(5000)]
    status, _, _ = service.raw(service.head(b"GET /api/svm/svms", *many))
    if status not in (0, 400, 431):
        raise AssertionError(f"5,000 header fields: {status}")
    # No TLS at all.
    with socket.create_connection((service.host, service.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /api/cluster HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass


@attack
def clients_that_never_finish(service):
    """While many connections get on byte by byte, others are answered at once; and the slow ones are ended."""
    slow = [service.connect() for _ in range(40)]
    silent = [socket.create_connection((service.host, service.port), timeout=PATIENCE) for _ in range(40)]
    body = [service.connect() for _ in range(20)]
    for connection in slow:
        connection.sendall(b"POST /api/svm/svms HTTP/1.1\r\nHost: x\r\n" + service.authorization + b"X-Slow: ")
    for connection in body:
        connection.sendall(service.head(b"POST /api/svm/svms", b"Content-Length: 10000") + b'{"name":')

    done = threading.Event()

    def drip():
        while not done.wait(0.2):
            for connection in slow + body:
                with contextlib.suppress(OSError):
                    connection.sendall(b" ")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        for _ in range(10):
            began = time.monotonic()
            status, _, _ = service.send("GET", "svm/svms")
            took = time.monotonic() - began
            if status != 200 or took > 5:
                raise AssertionError(f"meanwhile: {status} after {took:.1f} s")
        for connection in slow + silent:
            ended_by_the_service(connection)
    finally:
        done.set()
        dripping.join()
    for connection in body:
        ended_by_the_service(connection)


def ended_by_the_service(connection):
    with connection, contextlib.suppress(ConnectionError, ssl.SSLError):
        connection.settimeout(PATIENCE)
        while connection.recv(4096):
            pass


def main():
    service = Service(json.load(sys.stdin))
    # Something to lose.
    for path, body in (
        ("security/key-managers", {"onboard": {"passphrase": "a passphrase that must outlive the attacks"}}),
        ("svm/svms?return_timeout=30", {"name": "vs1"}),
        ("storage/volumes?return_timeout=30", {"name": "vol1", "svm": {"name": "vs1"}, "encryption": {"enabled": True}}),
    ):
        status, _, answer = service.send("POST", path, json.dumps(body).encode())
        if status != 201:
            raise AssertionError(f"POST {path}: {status} {answer!r}")
    before = service.snapshot()
    for one in ATTACKS:
        began = time.monotonic()
        one(service)
        after = service.snapshot()
        changed = [name for name in COLLECTIONS if after[name] != before[name]]
        if changed:
            raise AssertionError(f"{one.__name__} has changed {changed}: {[after[name] for name in changed]}")
        print(f"{one.__name__}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
