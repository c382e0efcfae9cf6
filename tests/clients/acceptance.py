"""The life of a cluster's keys, told by the official client, unmodified, and nothing else but the standard library.

Reads from standard input what the service and the lab are, as JSON:
{"service": {"url", "user", "password", "ca"}, "passphrases": [first, second, third], "lab": {"ca_path", "keystone_url", ...}}.

Each step is a function below `STEPS`; they build on each other. Prints each step's name when it is done; the first that fails ends the
run with a traceback.
"""

import json
import sys
import time
import urllib.parse

from netapp_ontap import HostConnection, NetAppRestError, config
from netapp_ontap.resources import (
    Barbican,
    Cluster,
    Job,
    KeyManagerConfig,
    KeyManagerKeys,
    Node,
    SecurityCertificate,
    SecurityKeyManager,
    SecurityKeystore,
    Svm,
    Volume,
)

STEPS = []


def step(function):
    STEPS.append(function)
    return function


class Site:
    """What the steps share: the service, the lab, and what earlier steps have made."""

    def __init__(self, told):
        service = told["service"]
        address = urllib.parse.urlsplit(service["url"])
        self.lab, self.passphrases = told["lab"], told["passphrases"]
        self.host, self.port = address.hostname, address.port
        self.ca, self.user = service["ca"], service["user"]
        self.connection = self.connect(service["password"])

    def connect(self, password):
        # The jobs of a test are short; the client's own five seconds between two looks would be most of its time.
        return HostConnection(
            self.host, self.user, password, verify=self.ca, port=self.port, poll_interval=0.05, poll_timeout=60
        )

    def barbican(self, svm, name, /, **others):
        """A configuration at the lab, as its user would fill it in."""
        with open(self.lab["ca_path"], encoding="ascii") as file:
            self.ca_of_lab = file.read()
        values = {
            "configuration": {"name": name},
            "svm": {"name": svm},
            "key_id": self.lab["key_id"],
            "keystone_url": self.lab["keystone_url"],
            "application_cred_id": self.lab["application_cred_id"],
            "application_cred_secret": self.lab["application_cred_secret"],
            **others,
        }
        return Barbican(**values)


def same(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, not {expected!r}")


def holds(value, fragment):
    if fragment not in value:
        raise AssertionError(f"{fragment!r} is not in {value!r}")


def refused(call, status, code, *fragments):
    """The call is refused with this HTTP status, ONTAP code, and these parts of the exception's text."""
    try:
        call()
    except NetAppRestError as error:
        same(error.status_code, status)
        same(error.response_body["error"]["code"], str(code))
        for fragment in (error.response_body["error"]["message"], *fragments):
            holds(str(error), fragment)
        return
    raise AssertionError(f"was not refused with {code}")


def fails(call, *fragments):
    """The call begins a job, which fails; the client raises the job's message."""
    try:
        call()
    except NetAppRestError as error:
        for fragment in ("Job failed: ", *fragments):
            holds(str(error), fragment)
        return
    raise AssertionError("the job did not fail")


def change(resource, **values):
    """The change of a resource, to be called: the client sends what was set after the resource was made."""
    for name, value in values.items():
        setattr(resource, name, value)
    return resource.patch


def names(records):
    return sorted(record.name for record in records)


@step
def the_cluster_and_its_node(site):
    cluster = Cluster()
    cluster.get()
    site.cluster = cluster.name
    same(cluster.version.generation, 9)
    holds(cluster.version.full, "NetApp Release 9.")
    (node,) = Node.get_collection(fields="*")
    same(node.state, "up")
    again = Node(uuid=node.uuid)
    again.get()
    same(again.name, node.name)
    site.node = node.uuid


@step
def a_wrong_password(site):
    with site.connect("not the password"):
        refused(lambda: list(Svm.get_collection()), 401, 6691623, "401 Client Error")


@step
def an_onboard_key_manager(site):
    def short():
        SecurityKeyManager(onboard={"passphrase": "short"}).post()

    refused(short, 400, 65536920, "400 Client Error")
    manager = SecurityKeyManager(onboard={"passphrase": site.passphrases[0]})
    same(manager.post(hydrate=True).http_response.status_code, 200)
    same((manager.scope, manager.enabled, manager.onboard.enabled), ("cluster", True, True))
    manager.get(fields="**")
    same((manager.status.code, manager.status.message), (65537200, "No action needed at this time."))
    same((manager.volume_encryption.supported, manager.volume_encryption.code), (True, 0))
    if "passphrase" in manager.onboard.to_dict():
        raise AssertionError("the passphrase came back")
    site.onboard = manager.uuid
    same([found.uuid for found in SecurityKeyManager.get_collection()], [manager.uuid])
    refused(SecurityKeyManager(onboard={"passphrase": site.passphrases[1]}).post, 409, 65536907)


@step
def svms_in_pages(site):
    for name in ("vs3", "vs1", "vs4", "vs2", "other"):
        svm = Svm(name=name)
        svm.post(hydrate=True)
        same((svm.state, svm.subtype), ("running", "default"))
    refused(Svm(name="vs1").post, 409, 1)
    # Two a page: the client follows each `next` link.
    same(names(Svm.get_collection(max_records=2)), ["other", "vs1", "vs2", "vs3", "vs4"])
    in_order = Svm.get_collection(name="vs*", order_by="name desc", max_records=3)
    same([svm.name for svm in in_order], ["vs4", "vs3", "vs2", "vs1"])
    same(names(Svm.get_collection(name="!other")), ["vs1", "vs2", "vs3", "vs4"])
    same(names(Svm.get_collection(name="vs1|vs3")), ["vs1", "vs3"])
    same(Svm.count_collection(name="vs*"), 4)
    same(Svm.find(name="none"), None)
    site.svm = Svm.find(name="vs1").uuid
    other = Svm.find(name="other")
    other.delete()
    refused(other.get, 404, 4, "404 Client Error")


@step
def a_private_certificate_authority(site):
    with open(site.lab["ca_path"], encoding="ascii") as file:
        pem = file.read()
    authority = SecurityCertificate(type="server_ca", name="lab", public_certificate=pem, svm={"name": "vs1"})
    authority.post(hydrate=True)
    same((authority.scope, authority.svm.name, authority.type), ("svm", "vs1", "server_ca"))
    holds(authority.public_certificate, "BEGIN CERTIFICATE")
    site.authority = authority.uuid
    # The cluster's are trusted by the connections of the cluster's own scope, and by no SVM's.
    SecurityCertificate(type="server_ca", name="lab", public_certificate=pem).post()
    same(SecurityCertificate.count_collection(name="lab"), 2)
    same([found.uuid for found in SecurityCertificate.get_collection(**{"svm.name": "vs1"})], [authority.uuid])
    again = SecurityCertificate(type="server_ca", name="lab", public_certificate=pem, svm={"name": "vs1"})
    refused(again.post, 409, 1)


@step
def barbican_configurations(site):
    first = site.barbican("vs1", "first")
    same(first.post(hydrate=True).http_response.status_code, 200)
    same((first.configuration.uuid, first.configuration.name), (first.uuid, "first"))
    same((first.scope, first.enabled, first.timeout), ("svm", False, 10))
    same((first.proxy_type, first.proxy_host, first.proxy_port), ("https", "", 0))
    site.first = first.uuid

    def create(**wrong):
        return site.barbican("vs1", "wrong", **wrong).post

    refused(create(key_id="http://localhost/v1/secrets/1"), 400, 65539810)
    refused(create(keystone_url="ftp://localhost"), 400, 65539811)
    refused(create(application_cred_id=""), 400, 65539835)
    refused(create(application_cred_secret=""), 400, 65539805)
    refused(create(svm={"name": site.cluster}), 400, 65539807)
    refused(create(svm={"name": "nowhere"}), 404, 4, 'SVM "nowhere" does not exist.')
    refused(create(configuration={"name": "first"}), 409, 65539808)
    same([found.uuid for found in Barbican.get_collection()], [site.first])

    whole = Barbican(uuid=site.first)
    whole.get(fields="**")
    same((whole.barbican_reachability.reachable, whole.barbican_reachability.code), (True, "0"))
    values = whole.to_dict()
    # What is not enabled has no state; what is written only does not come back.
    for absent in ("state", "application_cred_secret", "proxy_password"):
        if absent in values:
            raise AssertionError(f"{absent} was answered")


@step
def enabling_is_a_job(site):
    # A credential that Keystone does not know: the keeper refuses, and the job says so.
    wrong = site.barbican("vs2", "wrong", application_cred_secret="not the secret", verify_host=False)
    SecurityCertificate(
        type="server_ca", name="lab", public_certificate=site.ca_of_lab, svm={"name": "vs2"}
    ).post()
    wrong.post()
    fails(change(SecurityKeystore(uuid=wrong.uuid), enabled=True), "redential")
    same(SecurityKeystore.find(uuid=wrong.uuid).enabled, False)
    failed = [job for job in Job.get_collection(fields="*", state="failure")]
    same([(job.error.code, job.code) for job in failed], [("65537556", 65537556)])
    SecurityKeystore(uuid=wrong.uuid).delete()

    keystore = SecurityKeystore(uuid=site.first)
    keystore.enabled = True
    response = keystore.patch(poll=False)
    same((response.http_response.status_code, response.is_job), (202, True))
    same(response.poll().http_response.json()["state"], "success")
    keystore.get()
    same((keystore.enabled, keystore.type, keystore.location), (True, "barbican", "external"))
    same((keystore.svm.name, keystore.scope), ("vs1", "svm"))
    configuration = Barbican(uuid=site.first)
    configuration.get(fields="state")
    same((configuration.state.cluster_state, configuration.state.code), (False, "65537551"))
    holds(configuration.state.message, "No volumes created yet for the SVM.")
    refused(Barbican(uuid=site.first).rekey_internal, 409, 65537559)


@step
def volumes_have_keys(site):
    for number in range(5):
        volume = Volume(name=f"vol{number}", svm={"name": "vs1"}, encryption={"enabled": True}, size=1 << 30)
        volume.post(hydrate=True)
        same((volume.encryption.enabled, volume.encryption.state), (True, "encrypted"))
    refused(Volume(name="vol0", svm={"name": "vs1"}).post, 409, 1)
    same(names(Volume.get_collection(max_records=2, **{"svm.name": "vs1"})), [f"vol{n}" for n in range(5)])
    configuration = Barbican(uuid=site.first)
    configuration.get(fields="**")
    same((configuration.state.cluster_state, configuration.state.code), (True, "0"))
    same(configuration.barbican_reachability.reachable, True)
    same(SecurityKeystore.find(uuid=site.first).state, "active")
    site.keys = keys(site)
    of_volumes = {volume.encryption.key_id for volume in Volume.get_collection(fields="encryption")}
    same({key for key, kind in site.keys.items() if kind == "vek"}, of_volumes)


def keys(site, keystore=None):
    """The keys under a keystore, by name."""
    found = KeyManagerKeys.get_collection(keystore or site.first, site.node, fields="*", max_records=3)
    return {key.key_id: key.key_type for key in found}


def kek(of):
    (name,) = [key for key, kind in of.items() if kind == "svm_kek"]
    return name


@step
def a_rekey_changes_the_kek_alone(site):
    response = Barbican(uuid=site.first).rekey_internal(poll=False)
    same((response.http_response.status_code, response.is_job), (202, True))
    job = Job(uuid=response.http_response.json()["job"]["uuid"])
    same(response.poll().http_response.json()["state"], "success")
    job.get()
    same((job.state, job.code), ("success", 0))
    holds(job.description, "rekey-internal")
    if job.end_time < job.start_time:
        raise AssertionError("the job ended before it began")
    after = keys(site)
    same(len(after), 6)
    if kek(after) == kek(site.keys):
        raise AssertionError("the SVM's KEK is the same as before")
    site.keys = after
    one = KeyManagerKeys(key_id=kek(after), node={"uuid": site.node}, security_key_manager={"uuid": site.first})
    one.get()
    same((one.key_type, one.restored, one.key_user), ("svm_kek", True, "vs1"))
    refused(Barbican(uuid=site.svm).rekey_internal, 404, 65539817)
    refused(job.delete if hasattr(job, "delete") else Job(uuid=site.svm).get, 404, 4)


@step
def a_restore(site):
    configuration = Barbican(uuid=site.first)
    same(configuration.restore().http_response.json()["state"], "success")
    same(keys(site), site.keys)
    manager = SecurityKeyManager(uuid=site.first)
    same(manager.restore().http_response.json()["state"], "success")


@step
def a_changed_configuration(site):
    configuration = Barbican(uuid=site.first)
    configuration.get()
    configuration.timeout = 20
    configuration.patch(hydrate=True)
    same(configuration.timeout, 20)
    configuration.patch()  # Nothing has changed, so the client sends an empty object.

    credential = {name: site.lab[name] for name in ("application_cred_id", "application_cred_secret")}
    half = {"application_cred_id": credential["application_cred_id"]}
    refused(change(Barbican(uuid=site.first), **half), 400, 65539841)
    change(Barbican(uuid=site.first), **credential)()
    Barbican.patch_collection({"timeout": 30}, **{"configuration.name": "first", "enabled": True})
    same(Barbican.find(uuid=site.first).timeout, 30)
    refused(change(Barbican(uuid=site.svm), timeout=5), 404, 65539832)
    refused(lambda: Barbican.patch_collection({"timeout": 30}), 400, 2)


@step
def a_changed_passphrase(site):
    def passphrase(existing, new):
        onboard = {"existing_passphrase": existing, "passphrase": new}
        return change(SecurityKeyManager(uuid=site.onboard), onboard=onboard)

    first, second, third = site.passphrases
    refused(passphrase(third, second), 400, 65536139)
    refused(passphrase(first, first), 400, 65536150)
    refused(passphrase(first, "short"), 400, 65536404)
    passphrase(first, second)()
    refused(passphrase(first, third), 400, 65536139)
    synchronize = {"existing_passphrase": second, "synchronize": True}
    change(SecurityKeyManager(uuid=site.onboard), onboard=synchronize)()


@step
def the_options_of_key_management(site):
    options = KeyManagerConfig()
    options.get()
    same(options.cc_mode_enabled, False)
    options.cloud_kms_retry_count = 2
    options.patch()
    again = KeyManagerConfig()
    again.get(fields="**")
    same(again.cloud_kms_retry_count, 2)


@step
def a_key_rotates(site):
    volume = Volume.find(name="vol0")
    before = volume.encryption.key_id
    change(Volume(uuid=volume.uuid), encryption={"rekey": True})()
    volume.get()
    same((volume.encryption.state, volume.encryption.rekey), ("rekeying", True))
    if volume.encryption.key_id == before:
        raise AssertionError("the volume's newest key is the same as before")
    refused(change(Volume(uuid=volume.uuid), encryption={"rekey": True}), 409, 8)
    change(Volume(uuid=volume.uuid), encryption={"rekey": False})()
    volume.get()
    same((volume.encryption.state, volume.encryption.rekey), ("encrypted", False))


@step
def another_configuration_takes_over(site):
    second = site.barbican("vs1", "second", key_id=site.lab["other_keys"]["shared_by_acl"])
    second.post()
    SecurityKeystore.patch_collection({"enabled": True}, **{"uuid": second.uuid})
    found = {keystore.uuid: keystore.enabled for keystore in SecurityKeystore.get_collection(fields="enabled")}
    same(found, {site.onboard: True, site.first: False, second.uuid: True})
    same(len(keys(site, second.uuid)), 6)
    same(keys(site, site.first), {})
    refused(lambda: SecurityKeystore(uuid=second.uuid).delete(), 409, 65538905)
    SecurityKeystore.delete_collection(**{"svm.name": "vs1", "enabled": False})
    refused(Barbican(uuid=site.first).get, 404, 4)
    site.second = second.uuid


@step
def keys_migrate_from_the_cluster(site):
    for number in range(3):
        Volume(name=f"vol{number}", svm={"name": "vs2"}, encryption={"enabled": True}).post()
    same(len(keys(site, site.onboard)), 4)
    own = site.barbican("vs2", "own")
    own.post()
    change(SecurityKeystore(uuid=own.uuid), enabled=True)()
    same(SecurityKeystore.find(uuid=own.uuid).state, "mixed")
    refused(Barbican(uuid=own.uuid).rekey_internal, 409, 65537547)
    SecurityKeyManager(uuid=site.onboard).migrate(body={"uuid": own.uuid})
    same(SecurityKeystore.find(uuid=own.uuid).state, "active")
    same((len(keys(site, site.onboard)), len(keys(site, own.uuid))), (0, 4))
    Barbican(uuid=own.uuid).rekey_internal()
    site.own = own.uuid


@step
def every_record_is_in_the_clients_own_model(site):
    """No field that the client does not know, and none of another type; links are, where the model has none."""
    collections = {Barbican: (), Job: (), KeyManagerKeys: (site.own, site.node), Node: (), SecurityCertificate: ()}
    collections |= {SecurityKeyManager: (), SecurityKeystore: (), Svm: (), Volume: ()}
    for kind, parents in collections.items():
        url = kind.from_dict({}, *parents).get_collection_url()
        body = site.connection.session.get(url, params={"fields": "**"}).json()
        same(body["num_records"], len(body["records"]))
        if not body["records"]:
            raise AssertionError(f"there is no {kind.__name__}")
        for record in body["records"]:
            kind.from_dict(without_links(record), *parents, strict=True)
    for single in (Cluster, KeyManagerConfig):
        body = site.connection.session.get(site.connection.origin + single().instance_location).json()
        single.from_dict(without_links(body), strict=True)


def without_links(value):
    if isinstance(value, dict):
        return {name: without_links(member) for name, member in value.items() if name != "_links"}
    return [without_links(item) for item in value] if isinstance(value, list) else value


@step
def what_protects_keys_stays(site):
    refused(change(SecurityKeystore(uuid=site.second), enabled=False), 409, 65536867)
    refused(change(SecurityKeystore(uuid=site.onboard), enabled=False), 400, 65539522)
    refused(Svm.find(name="vs1").delete, 409, 8)


@step
def everything_goes(site):
    Volume.delete_collection(**{"svm.name": "vs1|vs2"})
    same(Volume.count_collection(), 0)
    for keystore in (site.second, site.own):
        one = SecurityKeystore(uuid=keystore)
        one.enabled = False
        one.patch()
        one.get()
        same(one.enabled, False)
        one.delete()
        refused(one.get, 404, 4)
    same(Barbican.count_collection(), 0)
    for authority in SecurityCertificate.get_collection(name="lab"):
        authority.delete()
    for svm in Svm.get_collection():
        svm.delete()
    same(Svm.count_collection(), 0)
    SecurityKeyManager(uuid=site.onboard).delete()
    same(list(SecurityKeyManager.get_collection()), [])
    running = [job for job in Job.get_collection(fields="state") if job.state in ("queued", "running")]
    same(running, [])


def main():
    site = Site(json.load(sys.stdin))
    config.CONNECTION = site.connection
    for one in STEPS:
        began = time.monotonic()
        one(site)
        print(f"{one.__name__}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
