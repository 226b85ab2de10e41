"""Where a repository is, as people and settings write it: a folder, or a bucket as a URL. Pure.

| text | what |
| --- | --- |
| `/srv/backups`, `./backups`, `file:///srv/backups` | a folder |
| `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&virtualHosted=true` | S3, or what speaks it |
| `azure://CONTAINER/PREFIX?account=NAME&endpoint=URL` | Azure Blob Storage |
| `gs://BUCKET/PREFIX?endpoint=URL` | Google Cloud Storage |

Prefix and parameters may be left out. A location never holds a secret.
"""

import enum
import re
import urllib.parse
from dataclasses import dataclass

from mooring.domain import errors

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]\Z")
_PREFIX_PART = re.compile(r"[A-Za-z0-9._=+@-]{1,255}\Z")
_WORD = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?\Z")
_BRACKETED_ENDPOINT = re.compile(r"https?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?/?\Z")


class Service(enum.StrEnum):
    """Who keeps a bucket; the value is the scheme of its URL."""

    S3 = "s3"
    AZURE = "azure"
    GCS = "gs"


_PARAMETERS = {
    Service.S3: {"endpoint", "region", "virtualHosted"},
    Service.AZURE: {"endpoint", "account"},
    Service.GCS: {"endpoint"},
}


@dataclass(frozen=True)
class FolderLocation:
    """A folder of this machine.

    Attributes:
        path: Its path.
    """

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class BucketLocation:
    """A part of a bucket.

    Attributes:
        service: Who keeps it.
        bucket: Its name; Azure says container.
        prefix: The part, as `a/b`; empty for all of it.
        endpoint: URL of the server, for all but the service's own.
        region: S3: the bucket's region.
        virtual_hosted: S3: the bucket is a part of the host's name and not of the path.
        account: Azure: the storage account.
    """

    service: Service
    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False
    account: str | None = None

    def __post_init__(self) -> None:
        if not _BUCKET.match(self.bucket) or ".." in self.bucket:
            raise errors.InvalidInput(
                f"{self.bucket[:80]!r} is no name of a bucket: 3 to 63 lower-case letters, digits, "
                "`-`, `_` and `.`"
            )
        parts = self.prefix.split("/") if self.prefix else []
        if not all(_PREFIX_PART.match(part) and part not in (".", "..") for part in parts):
            raise errors.InvalidInput(
                f"{self.prefix[:80]!r} is no prefix: parts of letters, digits and `._=+@-` with "
                "one `/` between them"
            )
        _check("endpoint", self.endpoint, _ENDPOINT, _BRACKETED_ENDPOINT)
        _check("region", self.region, _WORD)
        _check("account", self.account, _WORD)

    def __str__(self) -> str:
        query = {
            "endpoint": self.endpoint,
            "region": self.region,
            "virtualHosted": "true" if self.virtual_hosted else None,
            "account": self.account,
        }
        wanted = {name: value for name, value in query.items() if value is not None}
        text = f"{self.service}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        return text + (f"?{urllib.parse.urlencode(wanted, safe='/:')}" if wanted else "")


StoreLocation = FolderLocation | BucketLocation


def parse(text: str) -> StoreLocation:
    """Reads a location.

    Raises:
        InvalidInput: It is none; the message says what is wrong and never repeats a secret.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        if not text:
            raise errors.InvalidInput("the repository's location is empty")
        return FolderLocation(text)
    url = urllib.parse.urlsplit(text)
    if "@" in url.netloc or ":" in url.netloc:
        raise errors.InvalidInput(
            f"a location like {url.scheme}://… holds no user, password or port: credentials come "
            "from files or the environment, and the server is ?endpoint=https://…"
        )
    if url.scheme == "file":
        if url.netloc or not url.path.startswith("/") or url.query:
            raise errors.InvalidInput("a folder's URL is written file:///absolute/path")
        return FolderLocation(urllib.parse.unquote(url.path))
    try:
        service = Service(url.scheme)
    except ValueError:
        known = ", ".join(f"{one}://" for one in Service)
        raise errors.InvalidInput(
            f"{url.scheme}:// is no kind of store: use a folder's path, or {known}"
        ) from None
    return _bucket(service, url)


def _bucket(service: Service, url: urllib.parse.SplitResult) -> BucketLocation:
    if url.fragment:
        raise errors.InvalidInput("a store's URL has no `#`")
    try:
        found = urllib.parse.parse_qs(
            url.query, keep_blank_values=True, strict_parsing=bool(url.query), max_num_fields=10
        )
    except ValueError as error:
        raise errors.InvalidInput("the part behind `?` is NAME=VALUE&NAME=VALUE") from error
    unknown = sorted(set(found) - _PARAMETERS[service])
    if unknown or any(len(values) != 1 for values in found.values()):
        known = ", ".join(sorted(_PARAMETERS[service]))
        raise errors.InvalidInput(f"behind `?` {service}:// knows each of {known}, once")
    given = {name: values[0] for name, values in found.items()}
    virtual_hosted = given.get("virtualHosted", "false")
    if virtual_hosted not in ("true", "false"):
        raise errors.InvalidInput("virtualHosted is true or false")
    return BucketLocation(
        service=service,
        bucket=url.netloc,
        prefix=urllib.parse.unquote(url.path).removeprefix("/").removesuffix("/"),
        endpoint=given.get("endpoint"),
        region=given.get("region"),
        virtual_hosted=virtual_hosted == "true",
        account=given.get("account"),
    )


def _check(what: str, value: str | None, *forms: re.Pattern[str]) -> None:
    if value is not None and not any(form.match(value) for form in forms):
        raise errors.InvalidInput(f"{value[:80]!r} is no {what} of a store")
