"""A server on this machine that speaks the Hugging Face Hub's protocol, for the genuine clients.

Repositories live in memory, with real object ids: git's SHA-1 of blobs, SHA-256 of large files. It
answers what `huggingface_hub`, `transformers` and `datasets` ask when they create, upload, list and
download; it keeps no history but a list of commits, and knows no pull requests.

    with LocalHub({"hf_alice": "alice"}) as hub:
        subprocess.run(..., env={**os.environ, **hub.environment("hf_alice", home)})
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml


@dataclass(frozen=True)
class Blob:
    """One file of a commit."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """What git calls it: of a large file, its pointer."""
        content = self.content
        if self.lfs:
            pointer = f"oid sha256:{self.sha256}\nsize {len(self.content)}\n"
            content = f"version https://git-lfs.github.com/spec/v1\n{pointer}".encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    title: str
    files: dict[str, Blob]


@dataclass
class Repository:
    """Branches, each with its commits, oldest first."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, title: str, files: dict[str, Blob]) -> Commit:
        before = self.branches[branch][-1].oid if self.branches.get(branch) else ""
        ids = [f"{path} {blob.oid}" for path, blob in sorted(files.items())]
        oid = hashlib.sha1("\n".join([before, title, *ids]).encode()).hexdigest()
        made = Commit(oid, title, files)
        self.branches.setdefault(branch, []).append(made)
        return made

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        return next(
            (c for commits in self.branches.values() for c in commits if c.oid == revision), None
        )


class LocalHub:
    """The server; use it as a context.

    Args:
        users: User name of each token that is accepted.
        lfs_from_bytes: Size from which a file is large; None keeps all of them regular.
        before_store: Called with the number of large files stored so far, before the next one is;
            what it raises breaks the connection off.
        on_resolve: Called with repository, revision and path of a file that is asked for, first.
    """

    def __init__(
        self,
        users: dict[str, str],
        lfs_from_bytes: int | None = None,
        before_store: Callable[[int], None] | None = None,
        on_resolve: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self.users = users
        self.lfs_from_bytes = lfs_from_bytes
        self.before_store = before_store
        self.on_resolve = on_resolve
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.stored = 0
        self.lock = threading.Lock()

    def __enter__(self) -> "LocalHub":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, token: str | None, home: Path) -> dict[str, str]:
        """Variables by which the clients of a new process come here and nowhere else."""
        found = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return {**found, "HF_TOKEN": token} if token else found

    def add(
        self, name: str, files: dict[str, bytes], *, private: bool = False, branch: str = "main"
    ) -> Commit:
        """Put files into a repository, as its author would by git; datasets/NAME for a dataset."""
        found = self.repositories.setdefault(name, Repository(private))
        old = found.branches[branch][-1].files if branch in found.branches else {}
        new = {path: Blob(content, self._is_large(content)) for path, content in files.items()}
        return found.commit(branch, "by hand", {**old, **new})

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repository."""
        commit = self.repositories[name].find(revision)
        assert commit is not None
        return {path: blob.content for path, blob in commit.files.items()}

    def commits(self, name: str, branch: str = "main") -> list[Commit]:
        """The commits of a branch, oldest first."""
        return self.repositories[name].branches[branch]

    def _is_large(self, content: bytes) -> bool:
        return self.lfs_from_bytes is not None and len(content) >= self.lfs_from_bytes


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        address = urlsplit(self.path)
        self.parts = [unquote(part) for part in address.path.strip("/").split("/")]
        self.body = self._read_body()
        with self.hub.lock:
            self.hub.requests.append(f"{self.command} {unquote(address.path)}")
        try:
            self._route()
        except _Refused as refused:
            headers = {"X-Error-Message": str(refused)}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self._send(refused.status, {"error": str(refused)}, headers)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _route(self) -> None:
        parts = self.parts
        if parts[0] == "stored":
            self._stored(parts[1], parts[2])
        elif parts[0] == "api":
            self._api(parts[1:])
        elif "info" in parts and parts[-2:] == ["objects", "batch"]:
            name = "/".join(parts[: parts.index("info")]).removesuffix(".git")
            self._lfs_batch(name)
        elif "resolve" in parts and self.command in ("GET", "HEAD"):
            place = parts.index("resolve")
            name, revision = "/".join(parts[:place]), parts[place + 1]
            self._resolve(name, revision, "/".join(parts[place + 2 :]))
        else:
            raise _Refused(404, "there is no such page")

    def _api(self, parts: list[str]) -> None:
        what = parts[0]
        if what == "whoami-v2":
            self._send(200, {"type": "user", "name": self._some_user(), "orgs": []})
        elif what == "validate-yaml":
            self._validate(json.loads(self.body)["content"])
        elif parts[:2] == ["repos", "create"]:
            self._create(json.loads(self.body))
        elif what in ("models", "datasets") and len(parts) >= 3:
            prefix = "" if what == "models" else "datasets/"
            self._repository(f"{prefix}{parts[1]}/{parts[2]}", parts[3:])
        else:
            raise _Refused(404, "there is no such page")

    def _repository(self, name: str, rest: list[str]) -> None:
        action = rest[0] if rest else "info"
        if action in ("info", "revision"):
            self._info(name, rest[1] if rest else "main")
        elif action == "tree":
            self._tree(name, rest[1], "/".join(rest[2:]))
        elif action == "branch" and self.command == "POST":
            found = self._written(name)
            if rest[1] in found.branches:
                raise _Refused(409, "Reference already exists")
            found.branches[rest[1]] = list(found.branches["main"])
            self._send(200, {})
        elif action == "preupload":
            self._preupload(name, rest[1])
        elif action == "commit":
            self._commit(name, rest[1])
        else:
            raise _Refused(404, "there is no such page")

    # Who may do what.

    def _user(self) -> str | None:
        given = self.headers.get("Authorization", "")
        if not given:
            return None
        name = self.hub.users.get(given.removeprefix("Bearer "))
        if name is None:
            raise _Refused(401, "Invalid credentials in Authorization header")
        return name

    def _read(self, name: str) -> Repository:
        user = self._user()
        found = self.hub.repositories.get(name)
        owner = name.removeprefix("datasets/").split("/")[0]
        if found is None or (found.private and user != owner):
            raise _Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        return found

    def _some_user(self) -> str:
        if (name := self._user()) is None:
            raise _Refused(401, "Invalid username or password.")
        return name

    def _written(self, name: str) -> Repository:
        user = self._some_user()
        found = self._read(name)
        if name.removeprefix("datasets/").split("/")[0] != user:
            raise _Refused(403, f"You don't have the rights to write to {name}")
        return found

    def _at(self, name: str, revision: str) -> Commit:
        found = self._read(name).find(revision)
        if found is None:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    # Writing.

    def _create(self, asked: dict[str, Any]) -> None:
        user = self._some_user()
        owner = asked.get("organization") or user
        prefix = "datasets/" if asked.get("type") == "dataset" else ""
        name = f"{prefix}{owner}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if owner != user:
            raise _Refused(403, f"You don't have the rights to create a model under {owner}")
        if name in self.hub.repositories:
            self._send(409, {**answer, "error": "You already created this repo"})
            return
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.hub.repositories[name] = made = Repository(private)
        made.commit("main", "initial commit", {".gitattributes": Blob(b"*.bin filter=lfs\n")})
        self._send(200, answer)

    def _validate(self, card: str) -> None:
        errors = []
        if card.startswith("---\n"):
            try:
                values = yaml.safe_load(card[4:].split("\n---\n", 1)[0]) or {}
                for entry in values.get("model-index") or []:
                    if not entry["name"] or not entry["results"]:
                        errors.append({"message": '"model-index" needs a name and results'})
            except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
                errors.append({"message": f"the metadata is no YAML: {error}"})
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def _preupload(self, name: str, revision: str) -> None:
        self._written(name)
        there = self._at(name, revision).files
        large = self.hub.lfs_from_bytes
        answers = []
        for file in json.loads(self.body)["files"]:
            is_large = large is not None and file["size"] >= large
            old = there.get(file["path"])
            oid = None if old is None else old.sha256 if old.lfs else old.oid
            answer = {"path": file["path"], "shouldIgnore": False, "oid": oid}
            answers.append({**answer, "uploadMode": "lfs" if is_large else "regular"})
        self._send(200, {"files": answers})

    def _lfs_batch(self, name: str) -> None:
        found = self._written(name)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in found.stored:
                href = f"{self.hub.url}/stored/{name.replace('/', '@')}/{asked['oid']}"
                answer["actions"] = {"upload": {"href": href}}
            objects.append(answer)
        self._send(200, {"transfer": "basic", "objects": objects})

    def _stored(self, name: str, oid: str) -> None:
        found = self.hub.repositories[name.replace("@", "/")]
        if self.command in ("GET", "HEAD"):
            self._send_file(found.stored[oid], {"ETag": f'"{oid}"'})
            return
        with self.hub.lock:
            if self.hub.before_store is not None:
                try:
                    self.hub.before_store(self.hub.stored)
                except ConnectionError:
                    self.close_connection = True
                    return
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise _Refused(400, "the content is not that of its SHA-256")
            found.stored[oid] = self.body
            self.hub.stored += 1
        self._send(200, {})

    def _commit(self, name: str, branch: str) -> None:
        found = self._written(name)
        if branch not in found.branches:
            raise _Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        current = found.branches[branch][-1]
        if header.get("parentCommit") not in (None, current.oid):
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(current.files)
        for line in lines[1:]:
            value, kind = line["value"], line["key"]
            if kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                if value["oid"] not in found.stored:
                    raise _Refused(400, f"{value['path']} was not uploaded")
                files[value["path"]] = Blob(found.stored[value["oid"]], lfs=True)
            elif kind == "deletedFile":
                del files[value["path"]]
            else:
                raise _Refused(400, f"unknown operation {kind}")
        made = found.commit(branch, header["summary"], files)
        url = f"{self.hub.url}/{name}/commit/{made.oid}"
        self._send(200, {"success": True, "commitOid": made.oid, "commitUrl": url})

    # Reading.

    def _info(self, name: str, revision: str) -> None:
        commit = self._at(name, revision)
        short = name.removeprefix("datasets/")
        card = commit.files.get("README.md", Blob(b"")).content.decode()
        metadata = yaml.safe_load(card[4:].split("\n---\n", 1)[0]) if card[:4] == "---\n" else None
        answer = {"id": short, "modelId": short, "sha": commit.oid, "tags": []}
        answer["private"] = self.hub.repositories[name].private
        answer["siblings"] = [
            {"rfilename": path, "blobId": blob.oid, "size": len(blob.content)}
            for path, blob in sorted(commit.files.items())
        ]
        self._send(200, {**answer, **({"cardData": metadata} if metadata else {})})

    def _tree(self, name: str, revision: str, folder: str) -> None:
        """All files in a folder, as clients ask for them that ask for all."""
        commit = self._at(name, revision)
        inside = [
            {"type": "file", "path": path, "oid": blob.oid, "size": len(blob.content)}
            for path, blob in sorted(commit.files.items())
            if path.startswith(f"{folder}/" * bool(folder))
        ]
        if not inside:
            raise _Refused(404, f"{folder} does not exist", "EntryNotFound")
        self._send(200, inside)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        commit = self._at(name, revision)
        if self.hub.on_resolve is not None:
            self.hub.on_resolve(name, revision, path)
        blob = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.oid}
        if blob is None:
            message = f"{path} does not exist"
            named = {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": message}
            self._send(404, {"error": message}, named)
        elif blob.lfs:
            found = self.hub.repositories[name]
            found.stored[blob.sha256] = blob.content
            headers["X-Linked-Etag"] = f'"{blob.sha256}"'
            headers["X-Linked-Size"] = str(len(blob.content))
            # Another host, as on the Hub: clients ask it for the content only.
            host = self.hub.url.replace("127.0.0.1", "localhost")
            headers["Location"] = f"{host}/stored/{name.replace('/', '@')}/{blob.sha256}"
            self._send(302, None, headers)
        else:
            self._send_file(blob.content, {**headers, "ETag": f'"{blob.oid}"'})

    def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
        status, wanted = 200, self.headers.get("Range", "")
        if wanted.startswith("bytes=") and self.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last or len(content) - 1)
            headers = {**headers, "Content-Range": f"bytes {start}-{end}/{len(content)}"}
            status, content = 206, content[start : end + 1]
        self._send(status, content, {**headers, "Accept-Ranges": "bytes"})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        content = b"" if body is None else content
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
