"""Certificates: who gets one, whose name is in it, and what is refused."""

import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mooring.agent import (
    authority_folder,
    authorization,
    certificates,
    renewal,
    signer,
)
from mooring.domain import errors, ids
from mooring.ports.identities import TokenOwner

NOW = datetime.now(UTC)
CONTENT = certificates.CertificateAuthority.create(NOW)
NODE_ACCOUNT = "system:serviceaccount:mooring-system:mooring-csi-node"
CONTROLLER_ACCOUNT = "system:serviceaccount:mooring-system:mooring-csi-controller"
ACCOUNTS = {
    NODE_ACCOUNT: authorization.Role.NODE,
    CONTROLLER_ACCOUNT: authorization.Role.CONTROLLER,
}


class Clock:
    def now(self) -> datetime:
        return NOW


@dataclass
class Reviewer:
    """The API server: tokens are `account|node`, and the audience must be ours."""

    def review(self, token: str, audience: str) -> TokenOwner:
        if audience != "mooring.dev" or "|" not in token:
            raise errors.PermissionDenied("the token is not valid here")
        account, _, node = token.partition("|")
        return TokenOwner(account, node)


@pytest.fixture
def authority():
    return certificates.CertificateAuthority(CONTENT)


def names_of(pem: bytes) -> tuple[list[str], list[str]]:
    leaf = x509.load_pem_x509_certificate(pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        names.get_values_for_type(x509.UniformResourceIdentifier),
        names.get_values_for_type(x509.DNSName),
    )


@pytest.fixture
def operator_address(authority):
    own = authorization.Identity(authorization.Role.OPERATOR)
    current = renewal.CurrentCertificate(lambda: authority.issue(own, NOW), Clock())
    current.renew_when_due()
    service = signer.Signer(authority, Reviewer(), ACCOUNTS, Clock())
    serving, port = signer.serve("127.0.0.1:0", current, service)
    yield f"127.0.0.1:{port}"
    serving.stop(0).wait()


@pytest.mark.parametrize(
    ("token", "uri", "dns"),
    [
        (f"{NODE_ACCOUNT}|n1.x", "spiffe://mooring.dev/node/n1.x", "n1.x.node.mooring.dev"),
        (f"{CONTROLLER_ACCOUNT}|n1", "spiffe://mooring.dev/controller", "controller.mooring.dev"),
    ],
)
def test_a_token_becomes_a_certificate_with_the_names_it_proves(
    tmp_path, authority, operator_address, token, uri, dns
):
    file = tmp_path / "token"
    file.write_text(token + "\n")
    obtain = signer.obtain_from_operator(operator_address, file, lambda: authority.certificate_pem)
    found = obtain()
    assert names_of(found.certificate_pem) == ([uri], [dns])
    leaf = x509.load_pem_x509_certificate(found.certificate_pem)
    assert leaf.not_valid_after_utc - NOW.replace(microsecond=0) == timedelta(hours=24)
    assert found.renew_at - NOW < timedelta(hours=12, minutes=1)


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "system:serviceaccount:shop:default|n1",
        "system:serviceaccount:shop:mooring-csi-node|n1",
        f"{NODE_ACCOUNT}|",
    ],
)
def test_other_tokens_get_nothing(tmp_path, authority, operator_address, token):
    file = tmp_path / "token"
    file.write_text(token)
    obtain = signer.obtain_from_operator(operator_address, file, lambda: authority.certificate_pem)
    with pytest.raises(errors.PermissionDenied) as caught:
        obtain()
    assert token not in str(caught.value) or token == "nonsense"


def test_a_token_is_not_sent_to_somebody_else(tmp_path, operator_address):
    file = tmp_path / "token"
    file.write_text(f"{NODE_ACCOUNT}|n1")
    stranger = certificates.CertificateAuthority(certificates.CertificateAuthority.create(NOW))
    obtain = signer.obtain_from_operator(operator_address, file, lambda: stranger.certificate_pem)
    with pytest.raises(errors.Unreachable):
        obtain()


def test_a_missing_token_is_unreachable(tmp_path, authority):
    obtain = signer.obtain_from_operator(
        "127.0.0.1:1", tmp_path / "none", lambda: authority.certificate_pem
    )
    with pytest.raises(errors.Unreachable, match="cannot be read"):
        obtain()


def test_names_that_a_request_asks_for_are_ignored(authority):
    key = certificates.PrivateKey()
    identity = authorization.Identity(authorization.Role.NODE, ids.NodeName("n1"))
    wanted = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://mooring.dev/operator")]
    )
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "operator")]))
        .add_extension(wanted, critical=False)
        .sign(key._key, hashes.SHA256())
    )
    leaf = authority.sign(request.public_bytes(Encoding.PEM), identity, NOW)
    assert names_of(leaf) == (["spiffe://mooring.dev/node/n1"], ["n1.node.mooring.dev"])
    assert x509.load_pem_x509_certificate(leaf).subject == x509.Name([])


def test_bad_requests_are_refused(authority):
    identity = authorization.Identity(authorization.Role.OPERATOR)
    weak = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    for request in (b"", b"nonsense", weak):
        with pytest.raises(errors.InvalidInput):
            authority.sign(request, identity, NOW)


def test_a_certificate_for_another_key_is_refused(authority):
    identity = authorization.Identity(authorization.Role.OPERATOR)
    leaf = authority.sign(certificates.PrivateKey().request_pem(), identity, NOW)
    with pytest.raises(errors.DataCorrupt):
        certificates.PrivateKey().certificate(leaf, authority.certificate_pem)


def test_a_key_is_never_shown(authority):
    found = authority.issue(authorization.Identity(authorization.Role.OPERATOR), NOW)
    assert b"PRIVATE KEY" in found.key_pem
    assert "PRIVATE" not in repr(found)


def test_two_processes_that_create_at_once_share_one_authority(tmp_path):
    store = authority_folder.FolderAuthorityStore(tmp_path / "tls")
    first = certificates.CertificateAuthority.load_or_create(store, NOW)
    other = certificates.CertificateAuthority(
        store.create(certificates.CertificateAuthority.create(NOW))
    )
    assert other.certificate_pem == first.certificate_pem
    [file] = (tmp_path / "tls").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_authority_is_named(tmp_path):
    with pytest.raises(errors.DataCorrupt, match="delete it"):
        certificates.CertificateAuthority(b"nonsense")
    identity = authorization.Identity(authorization.Role.OPERATOR)
    with pytest.raises(errors.NotFound, match="make-tls"):
        authority_folder.current_certificate(tmp_path, identity, Clock())


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://mooring.dev/admin",
        "spiffe://mooring.dev/operator/x",
        "spiffe://mooring.dev/node/",
        "spiffe://mooring.dev/node/../operator",
        "spiffe://mooring.dev/node/A",
        "spiffe://other.dev/operator",
        "https://mooring.dev/operator",
        "",
    ],
)
def test_uris_that_are_no_identity(uri):
    assert authorization.parse_uri(uri) is None


@pytest.mark.parametrize("role", ["operator", "controller", "node"])
def test_an_identity_reads_back(role):
    node = ids.NodeName("n1") if role == "node" else None
    identity = authorization.Identity(authorization.Role(role), node)
    assert authorization.parse_uri(identity.uri) == identity


def test_the_rights_of_every_role_are_pinned():
    short = {
        role.value: {method.rpartition("/")[2] for method in methods}
        for role, methods in authorization.AGENT_RULES.methods.items()
    }
    reads = {"Hello", "ListVolumes", "ListPools", "ListSnapshots"}
    changes = {"CreateVolume", "DeleteVolume", "ExpandVolume", "CreateSnapshot", "DeleteSnapshot"}
    changes |= {"OfferSnapshot"}
    assert short == {
        "controller": reads | changes | {"ReadRanges"},
        "operator": reads | changes | {"FinishFilling", "KeepBase"},
        "node": {"Hello", "ReadSnapshot", "ListPools"},
    }


@pytest.mark.parametrize(
    "uris",
    [[], [b"spiffe://other.dev/operator"], [b"spiffe://mooring.dev/operator"] * 2, [b"\xff"]],
)
def test_a_peer_needs_exactly_one_identity(uris):
    method = "/mooring.agent.v1.NodeAgent/ListPools"
    with pytest.raises(errors.PermissionDenied):
        authorization.AGENT_RULES.check(method, {"peer_uri": uris})


def test_a_renewal_outlives_any_fault(authority):
    faults = [ValueError("no JSON"), errors.Unreachable("away")]
    own = authorization.Identity(authorization.Role.NODE, ids.NodeName("n1"))

    def obtain():
        if faults:
            raise faults.pop()
        return authority.issue(own, NOW)

    current = renewal.CurrentCertificate(obtain, Clock(), first_retry_seconds=0.05)
    current.start()
    try:
        assert current.wait(timeout_seconds=10)
        assert not faults
    finally:
        current.stop()
