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
import re
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
    """Branches, each with its commits, oldest first; `stored` are large files by SHA-256."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, title: str, files: dict[str, Blob]) -> Commit:
        commits = self.branches.setdefault(branch, [])
        before = commits[-1].oid if commits else ""
        ids = [f"{path} {blob.oid}" for path, blob in sorted(files.items())]
        oid = hashlib.sha1("\n".join([before, title, *ids]).encode()).hexdigest()
        commits.append(Commit(oid, title, files))
        self.stored |= {blob.sha256: blob.content for blob in files.values() if blob.lfs}
        return commits[-1]

    def find(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        every = (commit for commits in self.branches.values() for commit in commits)
        return next((commit for commit in every if commit.oid == revision), None)


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
        new = {path: Blob(content, self.is_large(len(content))) for path, content in files.items()}
        return found.commit(branch, "by hand", {**old, **new})

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repository."""
        commit = self.repositories[name].find(revision)
        assert commit is not None
        return {path: blob.content for path, blob in commit.files.items()}

    def commits(self, name: str, branch: str = "main") -> list[Commit]:
        """The commits of a branch, oldest first."""
        return self.repositories[name].branches[branch]

    def is_large(self, size: int) -> bool:
        return self.lfs_from_bytes is not None and size >= self.lfs_from_bytes


class _Answered(Exception):
    """The answer to a request other than 200."""

    def __init__(self, status: int, message: str, code: str = "", **answer: Any) -> None:
        super().__init__(message)
        self.status, self.answer = status, {"error": message, **answer}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}


_REPOSITORY = r"((?:datasets/)?[^/]+/[^/]+)"
_ROUTES = {
    r"GET /api/whoami-v2": "whoami",
    r"POST /api/validate-yaml": "validate",
    r"POST /api/repos/create": "create",
    rf"POST /{_REPOSITORY}\.git/info/lfs/objects/batch": "lfs_batch",
    rf"POST /api/(?:models/)?{_REPOSITORY}/branch/(.+)": "branch",
    rf"POST /api/(?:models/)?{_REPOSITORY}/preupload/(.+)": "preupload",
    rf"POST /api/(?:models/)?{_REPOSITORY}/commit/(.+)": "commit",
    rf"GET /api/(?:models/)?{_REPOSITORY}(?:/revision/(.+))?": "info",
    rf"GET /api/(?:models/)?{_REPOSITORY}/tree/([^/]+)/?(.*)": "tree",
    r"PUT /stored/([^/]+)/(.+)": "store",
    rf"(?:GET|HEAD) /{_REPOSITORY}/resolve/([^/]+)/(.+)": "resolve",
}


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        asked = f"{self.command} {unquote(urlsplit(self.path).path)}"
        self.body = self._read_body()
        with self.hub.lock:
            self.hub.requests.append(asked)
        try:
            for pattern, name in _ROUTES.items():
                if match := re.fullmatch(pattern, asked):
                    getattr(self, name)(*match.groups())
                    return
            raise _Answered(404, "there is no such page")
        except _Answered as other:
            self._send(other.status, other.answer, other.headers)
        except ConnectionError:
            self.close_connection = True

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

    def _send(
        self, status: int, body: dict | list | bytes, headers: dict[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # Who may do what.

    def _user(self, needed: bool = True) -> str | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given not in self.hub.users:
            raise _Answered(401, "Invalid credentials in Authorization header")
        if needed and not given:
            raise _Answered(401, "Invalid username or password.")
        return self.hub.users.get(given)

    def _at(self, name: str, revision: str) -> Commit:
        user = self._user(needed=False)
        found = self.hub.repositories.get(name)
        if found is None or (found.private and user != name.split("/")[-2]):
            raise _Answered(404 if user else 401, "Repository not found", "RepoNotFound")
        commit = found.find(revision)
        if commit is None:
            raise _Answered(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _written(self, name: str) -> Repository:
        if self._user() != name.split("/")[-2]:
            self._at(name, "main")
            raise _Answered(403, f"You don't have the rights to write to {name}")
        return self.hub.repositories[name]

    # Writing.

    def whoami(self) -> None:
        self._send(200, {"type": "user", "name": self._user(), "orgs": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or self._user()
        name = f"{owner}/{asked['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if owner != self._user():
            raise _Answered(403, f"You don't have the rights to create a model under {owner}")
        if name in self.hub.repositories:
            raise _Answered(409, "You already created this repo", **answer)
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.hub.repositories[name] = made = Repository(private)
        made.commit("main", "initial commit", {".gitattributes": Blob(b"*.bin filter=lfs\n")})
        self._send(200, answer)

    def branch(self, name: str, branch: str) -> None:
        branches = self._written(name).branches
        if branch in branches:
            raise _Answered(409, "Reference already exists")
        branches[branch] = list(branches["main"])
        self._send(200, {})

    def validate(self) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, branch: str) -> None:
        self._written(name)
        there = self._at(name, branch).files
        answers = []
        for file in json.loads(self.body)["files"]:
            old = there.get(file["path"])
            oid = None if old is None else old.sha256 if old.lfs else old.oid
            mode = "lfs" if self.hub.is_large(file["size"]) else "regular"
            answer = {"path": file["path"], "uploadMode": mode, "oid": oid, "shouldIgnore": False}
            answers.append(answer)
        self._send(200, {"files": answers})

    def lfs_batch(self, name: str) -> None:
        found = self._written(name)
        objects = json.loads(self.body)["objects"]
        for asked in objects:
            if asked["oid"] not in found.stored:
                href = f"{self.hub.url}/stored/{name.replace('/', '@')}/{asked['oid']}"
                asked["actions"] = {"upload": {"href": href}}
        self._send(200, {"transfer": "basic", "objects": objects})

    def store(self, name: str, oid: str) -> None:
        with self.hub.lock:
            if self.hub.before_store is not None:
                self.hub.before_store(self.hub.stored)
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise _Answered(400, "the content is not that of its SHA-256")
            self.hub.repositories[name.replace("@", "/")].stored[oid] = self.body
            self.hub.stored += 1
        self._send(200, {})

    def commit(self, name: str, branch: str) -> None:
        found = self._written(name)
        current = self._at(name, branch)
        header, *lines = (json.loads(line) for line in self.body.splitlines())
        if header["value"].get("parentCommit") not in (None, current.oid):
            raise _Answered(412, "A commit has happened since. Please refresh and try again.")
        files = dict(current.files)
        for line in lines:
            value, kind = line["value"], line["key"]
            if kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif kind == "lfsFile":
                files[value["path"]] = Blob(found.stored[value["oid"]], lfs=True)
            elif kind == "deletedFile":
                del files[value["path"]]
        made = found.commit(branch, header["value"]["summary"], files)
        url = f"{self.hub.url}/{name}/commit/{made.oid}"
        self._send(200, {"success": True, "commitOid": made.oid, "commitUrl": url})

    # Reading.

    def info(self, name: str, revision: str | None) -> None:
        commit = self._at(name, revision or "main")
        short = name.removeprefix("datasets/")
        card = commit.files.get("README.md", Blob(b"")).content.decode(errors="replace")
        answer = {"id": short, "modelId": short, "sha": commit.oid, "tags": []}
        answer["private"] = self.hub.repositories[name].private
        answer["siblings"] = [
            {"rfilename": path, "blobId": blob.oid, "size": len(blob.content)}
            for path, blob in sorted(commit.files.items())
        ]
        metadata = _metadata(card)
        self._send(200, {**answer, **({"cardData": metadata} if metadata else {})})

    def tree(self, name: str, revision: str, folder: str) -> None:
        """All files in a folder, as clients ask for them that ask for all."""
        inside = [
            {"type": "file", "path": path, "oid": blob.oid, "size": len(blob.content)}
            for path, blob in sorted(self._at(name, revision).files.items())
            if path.startswith(f"{folder}/" * bool(folder))
        ]
        if not inside:
            raise _Answered(404, f"{folder} does not exist", "EntryNotFound")
        self._send(200, inside)

    def resolve(self, name: str, revision: str, path: str) -> None:
        commit = self._at(name, revision)
        if self.hub.on_resolve is not None:
            self.hub.on_resolve(name, revision, path)
        blob = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.oid}
        if blob is None:
            missing = _Answered(404, f"{path} does not exist", "EntryNotFound")
            self._send(404, missing.answer, {**headers, **missing.headers})
        else:
            etag = blob.sha256 if blob.lfs else blob.oid
            self._send(200, blob.content, {**headers, "ETag": f'"{etag}"'})


def _metadata(card: str) -> Any:
    front = card[4:].split("\n---\n", 1)[0] if card.startswith("---\n") else ""
    return yaml.safe_load(front)
