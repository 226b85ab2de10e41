"""Backups into a bucket of an S3 server in the cluster, and back on another node."""

import json
import secrets

import pytest

from mooring_dev.cluster import lifecycle
from mooring_dev.images import loading, tools
from support.shop import Shop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

BUCKET = "company-backups"
PORT = 7070


class Bucket:
    """An S3 server as a pod of the shop's namespace, whose folder is its bucket."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.secret_key = secrets.token_hex(16)
        loading.load_everywhere(lifecycle.current(), [tools.tool_archive("versitygw")])
        self._serve()
        self.log_in("s3-login", self.secret_key)

    def log_in(self, secret: str, secret_key: str) -> None:
        literals = {"AWS_ACCESS_KEY_ID": "shop", "AWS_SECRET_ACCESS_KEY": secret_key}
        self.shop.create_secret(secret, literals)

    def repository(self, name: str) -> None:
        bucket = {
            "bucket": BUCKET,
            "prefix": "team-a/volumes",
            "endpoint": f"http://s3.{self.shop.namespace}.svc:{PORT}",
            "credentialsSecretName": "s3-login",
        }
        spec = {"s3": bucket, "encryption": {"keySecretName": "key", "recovery": "None"}}
        self.shop.create("BackupRepository", name, spec)

    def objects(self, folder: str) -> list[str]:
        path = f"/data/{BUCKET}/team-a/volumes/{folder}"
        return self.shop.in_pod("s3", f"ls {path} 2>/dev/null || true").split()

    def _serve(self) -> None:
        security = {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        shared = {
            "securityContext": security,
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        server = {
            "name": "s3",
            "image": tools.image_name("versitygw"),
            "args": ["--port", f":{PORT}", "--quiet", "posix", "/data"],
            "env": [
                {"name": "ROOT_ACCESS_KEY_ID", "value": "shop"},
                {"name": "ROOT_SECRET_ACCESS_KEY", "value": self.secret_key},
            ],
            **shared,
        }
        shell = {"name": "main", "image": tools.BUSYBOX_IMAGE, "command": ["sleep", "3600"]}
        made = {"name": "bucket", "image": tools.BUSYBOX_IMAGE}
        spec = {
            "securityContext": {"fsGroup": 1000},
            "terminationGracePeriodSeconds": 0,
            "initContainers": [{**made, "command": ["mkdir", f"/data/{BUCKET}"], **shared}],
            "containers": [{**shell, **shared}, server],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }
        metadata = {"name": "s3", "namespace": self.shop.namespace, "labels": {"app": "s3"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.shop.kubectl.apply(json.dumps(pod))
        ports = [{"port": PORT, "targetPort": PORT}]
        self.shop.create("Service", "s3", {"selector": {"app": "s3"}, "ports": ports}, "v1")
        self.shop.until("the S3 server", lambda: self.shop.running("s3"))


def test_a_volume_comes_back_from_a_bucket_on_another_node(shop: Shop) -> None:
    bucket = Bucket(shop)
    bucket.repository("offsite")
    shop.until_condition("backuprepository", "offsite", "Ready", "True")
    checksum = shop.filled(megabytes=48)
    status = shop.backed_up("one", repositoryName="offsite", deletionPolicy="Delete")
    assert status["progress"]["bytesStored"] >= 48 << 20
    assert len(bucket.objects("manifests")) == 1
    other = shop.cluster.node_names[1]
    target = {"claimName": "restored", "size": "512Mi"}
    shop.create(
        "Restore",
        "back",
        {"backupName": "one", "target": target, "placement": {"node": other}},
    )
    shop.until("the new claim", lambda: shop.get("pvc", "restored"))
    shop.pod("reader", "restored", "exec sleep 3600")
    shop.until_condition("restore", "back", "Succeeded", "True")
    shop.until("the reader", lambda: shop.running("reader"))
    assert shop.checksum("reader") == checksum
    assert shop.get("pod", "reader")["spec"]["nodeName"] == other
    shop.delete("backup", "one")
    assert bucket.objects("manifests") == []


def test_missing_and_wrong_credentials_are_told_and_mended(shop: Shop) -> None:
    bucket = Bucket(shop)
    shop.kubectl.run("delete", "secret", "s3-login", "-n", shop.namespace)
    bucket.repository("offsite")

    def reason() -> str:
        found = shop.get("backuprepository", "offsite").get("status", {}).get("conditions", [])
        return next((str(one["reason"]) for one in found if one["type"] == "Ready"), "")

    shop.until("the missing Secret to be told", lambda: reason() == "CredentialsMissing")
    bucket.log_in("s3-login", "wrong")
    shop.until("the refusal to be told", lambda: reason() == "PermissionDenied")
    shop.kubectl.run("delete", "secret", "s3-login", "-n", shop.namespace)
    bucket.log_in("s3-login", bucket.secret_key)
    shop.until_condition("backuprepository", "offsite", "Ready", "True")
