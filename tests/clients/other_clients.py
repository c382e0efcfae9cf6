"""The habits of other clients of the API, each as its client has it: the Ansible collection netapp.ontap, the Terraform provider, curl.

Reads from standard input what the service is, as JSON: {"service": {"url", "user", "password", "ca"}, "passphrases": [right, wrong], "accounts": [{"user", "password"}]}.
The accounts' passwords are not ASCII. Prints each habit's name when it is shown; the first that fails ends the run with a traceback.
"""

import base64
import json
import sys
import time

import requests

HABITS = []
# What the clients look for in messages.
WRONG_PASSPHRASE = "Cluster-wide passphrase is incorrect."
SAME_PASSPHRASE = "The new passphrase is same as old passphrase."


def habit(function):
    HABITS.append(function)
    return function


class Client:
    """One connection for each request, as the Ansible collection does it."""

    def __init__(self, told):
        service = told["service"]
        self.url, self.ca = service["url"], service["ca"]
        self.account = (service["user"], service["password"])
        self.accounts, self.passphrases = told["accounts"], told["passphrases"]

    def send(self, method, path, query=None, body=None, headers=None, authorization=None):
        headers = {"X-Dot-Client-App": "netapp.ontap.na_ontap_security_key_manager/23.6.0", **(headers or {})}
        if authorization:
            headers["Authorization"] = authorization
        url = path if path.startswith("https:") else f"{self.url}/api/{path}"
        account = None if authorization else self.account
        return requests.request(
            method, url, params=query, json=body, headers=headers, auth=account, verify=self.ca, timeout=60
        )

    def ask(self, method, path, query=None, body=None, headers=None):
        """The answer's JSON, of a request that must be done."""
        answer = self.send(method, path, query, body, headers)
        if answer.status_code >= 300:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def error(self, method, path, status, query=None, body=None, headers=None):
        """The error of a request that must be refused."""
        answer = self.send(method, path, query, body, headers)
        same(answer.status_code, status)
        return answer.json()["error"]


def same(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, not {expected!r}")


def holds(value, fragment):
    if fragment not in value:
        raise AssertionError(f"{fragment!r} is not in {value!r}")


@habit
def ansible_asks_for_the_version_first(client):
    version = client.ask("GET", "cluster", {"fields": ["version"]})["version"]
    for part in ("generation", "major", "minor"):
        if not isinstance(version[part], int):
            raise AssertionError(f"version.{part} is {version[part]!r}")
    holds(version["full"], "NetApp Release")


@habit
def ansible_looks_up_one_record(client):
    """`num_records` decides: none is "not there", and `records` has to be a list even then."""
    query = {"scope": "cluster", "fields": "status,external,uuid,onboard"}
    found = client.ask("GET", "security/key-managers", query)
    same((found["num_records"], found["records"]), (0, []))
    error_or_none = client.send("GET", "security/key-managers", {"scope": "svm", "svm.name": "nowhere"})
    if error_or_none.status_code == 200:
        same(error_or_none.json()["num_records"], 0)
    else:
        holds(error_or_none.json()["error"]["message"], 'SVM "nowhere" does not exist')


@habit
def ansible_creates_and_waits_thirty_seconds(client):
    body = {"onboard": {"passphrase": client.passphrases[0]}}
    answer = client.send("POST", "security/key-managers", {"return_timeout": 30}, body)
    same(answer.status_code, 201)
    query = {"scope": "cluster", "fields": "status,external,uuid,onboard"}
    (record,) = client.ask("GET", "security/key-managers", query)["records"]
    same(record["onboard"]["enabled"], True)
    same(record["status"]["code"], 65537200)
    client.manager = record["uuid"]


@habit
def ansible_tests_a_passphrase_by_giving_it_twice(client):
    path = f"security/key-managers/{client.manager}"

    def test(passphrase):
        body = {"onboard": {"existing_passphrase": passphrase, "passphrase": passphrase}}
        return client.error("PATCH", path, 400, {"return_timeout": 30}, body)

    right, wrong = client.passphrases
    known = test(right)
    same((known["code"], known["message"]), ("65536150", SAME_PASSPHRASE))
    wrong = test(wrong)
    same(wrong["code"], "65536139")
    holds(wrong["message"], WRONG_PASSPHRASE)
    # A passphrase that can be none is a wrong one, too.
    for impossible in ("short", "x" * 300, "pässphräse, die lang genug ist, aber nicht ASCII"):
        holds(test(impossible)["message"], WRONG_PASSPHRASE)


@habit
def ansible_writes_dotted_names_into_bodies(client):
    client.ask("POST", "svm/svms", {"return_timeout": 30}, {"name": "vs1"})
    body = {"name": "vol1", "svm.name": "vs1", "encryption.enabled": True, "size": 1 << 30}
    done = client.ask("POST", "storage/volumes", {"return_timeout": 30, "return_records": "true"}, body)
    same((done["num_records"], done["records"][0]["svm"]["name"]), (1, "vs1"))
    same(done["records"][0]["encryption"]["enabled"], True)


@habit
def ansible_polls_a_job_without_fields(client):
    """Whatever `return_timeout` was, an answer that names a job has it read by its link."""
    answers = [client.send("POST", "svm/svms", {"return_timeout": wait}, {"name": f"job{wait}"}) for wait in (0, 30)]
    same([answer.status_code for answer in answers], [202, 201])
    for answer in answers:
        link = answer.json()["job"]["_links"]["self"]["href"].split("api/")[1]
        job = client.ask("GET", link)
        while job["state"] in ("queued", "running"):
            time.sleep(0.05)
            job = client.ask("GET", link)
        same((job["state"], job["code"]), ("success", 0))
        for field in ("message", "description", "start_time", "end_time"):
            holds(job, field)


@habit
def ansible_deletes_without_a_body_and_with_a_query(client):
    (record,) = client.ask("GET", "svm/svms", {"name": "job0"})["records"]
    client.ask("DELETE", f"svm/svms/{record['uuid']}", {"return_timeout": 30})
    same(client.ask("GET", "svm/svms", {"name": "job0"})["num_records"], 0)
    error = client.error("DELETE", f"svm/svms/{record['uuid']}", 404)
    same(error["code"], "4")
    # The same key manager, by its scope instead of its UUID: refused, for a volume is encrypted.
    error = client.error("DELETE", "security/key-managers", 409, {"scope": "cluster", "return_timeout": 30})
    same(error["code"], "65536239")


@habit
def ansible_asks_what_a_resource_supports(client):
    answer = client.send("OPTIONS", "security/barbican-kms")
    same((answer.status_code, sorted(answer.headers["Allow"].split(", "))), (200, sorted(ALLOWED)))
    head = client.send("HEAD", "security/key-managers")
    same((head.status_code, head.content), (200, b""))
    refused = client.send("DELETE", "security/barbican-kms")
    same((refused.status_code, refused.json()["error"]["code"]), (405, "3"))
    holds(refused.headers["Allow"], "POST")


ALLOWED = ["GET", "HEAD", "OPTIONS", "PATCH", "POST"]


@habit
def ansible_tunnels_to_an_svm(client):
    """The headers that select an SVM, and the one that names the client, change nothing here."""
    (svm,) = client.ask("GET", "svm/svms", {"name": "vs1"})["records"]
    tunnel = {"X-Dot-SVM-Name": "vs1", "X-Dot-SVM-UUID": svm["uuid"]}
    plain = client.ask("GET", "storage/volumes", {"fields": "*"})
    same(client.ask("GET", "storage/volumes", {"fields": "*"}, headers=tunnel), plain)
    same(plain["num_records"], 1)


@habit
def accept_decides_on_links(client):
    for accept, has_links, content_type in (
        (None, True, "application/hal+json"),
        ("*/*", True, "application/hal+json"),
        ("application/hal+json", True, "application/hal+json"),
        ("application/json", False, "application/json"),
    ):
        answer = client.send("GET", "svm/svms", {"name": "vs1"}, headers={"accept": accept})
        same(answer.headers["Content-Type"], content_type)
        same("_links" in answer.json()["records"][0], has_links)
    page = client.ask("GET", "svm/svms", {"max_records": 1}, headers={"accept": "application/json"})
    same(list(page["_links"]), ["next"])
    # Nothing but the link is sent for the next page.
    rest = client.ask("GET", client.url + page["_links"]["next"]["href"])
    same(rest["num_records"], 1)


@habit
def terraform_waits_sixty_seconds_and_reads_the_job(client):
    answer = client.send("POST", "svm/svms", {"return_timeout": 60, "return_records": "true"}, {"name": "tf"})
    same(answer.status_code, 201)
    same(answer.json()["records"][0]["name"], "tf")
    job = client.ask("GET", f"cluster/jobs/{answer.json()['job']['uuid']}")
    same((job["state"], job["code"]), ("success", 0))
    uuid = answer.json()["records"][0]["uuid"]
    client.ask("DELETE", f"svm/svms/{uuid}", {"return_timeout": 60})


@habit
def terraform_takes_a_failed_job_by_its_code(client):
    """Of a job that fails it wants `code` and `error`, or it waits for ever."""
    body = {
        "configuration": {"name": "nowhere"},
        "svm": {"name": "vs1"},
        "key_id": "https://127.0.0.1:9/v1/secrets/6c9a2a3e-0c4b-4a3a-9a3e-3b1f8a0f4c11",
        "keystone_url": "https://127.0.0.1:9/v3/auth/tokens",
        "application_cred_id": "app",
        "application_cred_secret": "secret",
        "timeout": 1,
    }
    location = client.send("POST", "security/barbican-kms", {"return_timeout": 60}, body).headers["Location"]
    uuid = location.rsplit("/", 1)[1]
    begun = client.ask("PATCH", f"security/key-stores/{uuid}", body={"enabled": True})
    link = begun["job"]["_links"]["self"]["href"].split("api/")[1]
    job = client.ask("GET", link)
    while job["state"] in ("queued", "running"):
        time.sleep(0.05)
        job = client.ask("GET", link)
    same((job["state"], job["code"], job["error"]["code"]), ("failure", 65539801, "65539801"))
    same(job["message"], job["error"]["message"])
    # Within a wait, the failure is the answer.
    error = client.error("PATCH", f"security/key-stores/{uuid}", 500, {"return_timeout": 60}, {"enabled": True})
    same(error["code"], "65539801")
    client.ask("DELETE", f"security/key-stores/{uuid}")


@habit
def slashes_plus_signs_and_capitals_in_addresses(client):
    for path in ("svm/svms/", "security/key-managers/", f"security/key-managers/{client.manager}/"):
        same(client.send("GET", path).status_code, 200)
    client.ask("POST", "svm/svms", {"return_timeout": "30", "return_records": "True"}, {"name": "capitals"})
    same(client.ask("GET", "svm/svms?name=capi*&return_records=False")["num_records"], 1)
    same(client.ask("GET", "svm/svms?fields=%2A&order_by=name+desc&name=%21vs1&max_records=1")["num_records"], 1)
    same(client.ask("GET", f"security/key-managers/{client.manager.upper()}")["uuid"], client.manager)


@habit
def passwords_come_in_either_encoding(client):
    for account in client.accounts:
        text = f"{account['user']}:{account['password']}"
        for encoding in ("utf-8", "latin-1"):
            credential = base64.b64encode(text.encode(encoding)).decode("ascii")
            answer = client.send("GET", "cluster", authorization=f"Basic {credential}")
            same((encoding, answer.status_code), (encoding, 200))
        # With its accents lost it is another password.
        credential = base64.b64encode(text.encode("ascii", "replace")).decode("ascii")
        same(client.send("GET", "cluster", authorization=f"Basic {credential}").status_code, 401)


@habit
def nobody_gets_in_without_a_password(client):
    for authorization in ("Basic", "Basic !", "Basic YWRtaW4=", "Bearer x", "Negotiate x", "Basic Og=="):
        answer = client.send("GET", "cluster", authorization=authorization)
        same((authorization, answer.status_code), (authorization, 401))
        same(answer.json()["error"]["code"], "6691623")
        holds(answer.headers["WWW-Authenticate"], "Basic")


def main():
    client = Client(json.load(sys.stdin))
    for one in HABITS:
        began = time.monotonic()
        one(client)
        print(f"{one.__name__}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
