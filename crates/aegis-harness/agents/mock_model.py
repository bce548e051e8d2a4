#!/usr/bin/env python3
"""A model that follows orders: a server on the loopback address that stands in for one.

It speaks what Claude Code (Anthropic Messages) and Codex (OpenAI Responses) need of their protocols, streamed. The
prompt says what to do: `mock:STEP,STEP`, where a step is

    write   a tool call that writes the file hello.txt
    shell   a tool call that runs the command `echo from-shell > shell.txt`
    escape  the same, and asks to run it outside the agent's own sandbox where the agent has one
    fail    an error in place of an answer

After the last step, and to any request without orders or tools, the answer is a text. The server keeps no state: how
far a conversation has come is the number of tool calls that follow the orders in it, so a request that is repeated
gets the same answer.

    mock_model.py --workspace DIR [--log FILE]      prints its port, then serves until it is ended
"""
import argparse
import itertools
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WRITTEN = {"name": "hello.txt", "content": "hello from a tool\n"}
COMMAND = "echo from-shell > shell.txt"
FINAL_TEXT = "Everything that was asked for is done."

ORDERS = re.compile(r"\bmock:([a-z]+(?:,[a-z]+)*)")
NUMBERS = itertools.count(1)


def fresh(prefix):
    """Returns an identifier that no other answer of this server has."""
    return "%s_mock%06d" % (prefix, next(NUMBERS))


def next_step(turns):
    """Returns the step that is due, or None. `turns` yields ("user", text) and ("call", None) in their order."""
    steps, done = [], 0
    for kind, text in turns:
        found = ORDERS.findall(text) if kind == "user" else []
        if found:
            steps, done = found[-1].split(","), 0
        elif kind == "call":
            done += 1
    return steps[done] if done < len(steps) else None


class Anthropic:
    """The Messages protocol, as Claude Code uses it."""

    suffix = "/messages"

    @staticmethod
    def wants_form(body):
        """Returns whether the answer has to be JSON of a given form, as for the title of a conversation."""
        return bool((body.get("output_config") or {}).get("format"))

    @staticmethod
    def turns(body):
        for message in body.get("messages", []):
            content = message.get("content")
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
                if part.get("type") == "tool_use":
                    yield "call", None
                elif part.get("type") == "text" and message.get("role") == "user":
                    yield "user", part["text"]

    @staticmethod
    def call(body, step, workspace):
        """Returns the block that makes the step's tool call, or None where the tool isn't offered."""
        if step == "write":
            name, given = "Write", {"file_path": workspace + "/" + WRITTEN["name"], "content": WRITTEN["content"]}
        else:
            name, given = "Bash", {"command": COMMAND, "description": "Write a line"}
        if not any(tool.get("name") == name for tool in body.get("tools") or []):
            return None
        return {"type": "tool_use", "id": fresh("toolu"), "name": name, "input": given}

    @staticmethod
    def events(body, call):
        usage = {"input_tokens": 10, "output_tokens": 5}
        if call:
            block = dict(call, input={})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call["input"])}
        else:
            block = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": FINAL_TEXT}
        message = {"id": fresh("msg"), "type": "message", "role": "assistant", "model": body.get("model"),
                   "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield {"type": "message_start", "message": message}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "message_delta", "delta": stop, "usage": usage}
        yield {"type": "message_stop"}


class Responses:
    """The Responses protocol, as Codex uses it.

    Codex offers its tools one by one, or in its code mode a tool `exec` that runs JavaScript in which the others are
    functions; then the list of tools is an item of the conversation.
    """

    suffix = "/responses"

    @staticmethod
    def wants_form(body):
        """Returns whether the answer has to be JSON of a given form, as for the title of a conversation."""
        return bool((body.get("text") or {}).get("format"))

    @staticmethod
    def turns(body):
        for item in body.get("input", []):
            kind = item.get("type", "message")
            if kind.endswith("_call"):
                yield "call", None
            elif kind == "message" and item.get("role") == "user":
                yield "user", "\n".join(part.get("text", "") for part in item.get("content") or [])

    @staticmethod
    def offered(body):
        """Returns the namespace, or None, of each tool by its name."""
        extra = [item["tools"] for item in body.get("input", []) if item.get("type") == "additional_tools"]
        names = {}
        for tool in itertools.chain(body.get("tools") or [], *extra):
            if tool.get("type") == "namespace":
                names.update((inner.get("name"), tool.get("name")) for inner in tool.get("tools", []))
            else:
                names[tool.get("name")] = None
        return names

    @staticmethod
    def call(body, step, workspace):
        """Returns the item that makes the step's tool call, or None where the tool isn't offered."""
        if step == "write":
            lines = "".join("+%s\n" % line for line in WRITTEN["content"].splitlines())
            patch = "*** Begin Patch\n*** Add File: %s\n%s*** End Patch\n" % (WRITTEN["name"], lines)
            name, given = "apply_patch", patch
        else:
            name, given = "exec_command", {"cmd": COMMAND}
            if step == "escape":
                given.update(sandbox_permissions="require_escalated", justification="May I run this command?")
        offered = Responses.offered(body)
        if name not in offered and "exec" in offered:
            name, given = "exec", "text(await tools.%s(%s));" % (name, json.dumps(given))
        if name not in offered:
            return None
        item = {"call_id": fresh("call"), "name": name, "status": "completed"}
        if offered[name]:
            item["namespace"] = offered[name]
        if isinstance(given, str):
            return dict(item, type="custom_tool_call", id=fresh("ctc"), input=given)
        return dict(item, type="function_call", id=fresh("fc"), arguments=json.dumps(given))

    @staticmethod
    def events(body, call):
        text = {"type": "output_text", "text": FINAL_TEXT, "annotations": []}
        item = call or {"type": "message", "id": fresh("msg"), "role": "assistant", "status": "completed",
                        "content": [text]}
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
        response = {"id": fresh("resp"), "object": "response", "created_at": 0, "model": body.get("model"),
                    "status": "in_progress", "output": []}
        done = dict(response, status="completed", output=[item], usage=usage)
        yield {"type": "response.created", "response": response}
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}
        yield {"type": "response.completed", "response": done}


class Handler(BaseHTTPRequestHandler):
    """One connection of an agent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def note(self, **fields):
        if self.server.log:
            self.server.log.write(json.dumps(dict(fields, method=self.command, path=self.path)) + "\n")
            self.server.log.flush()

    def reply(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, kind, text):
        self.reply({"type": "error", "error": {"type": kind, "message": text}}, status)

    def stream(self, events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            data = ("event: %s\ndata: %s\n\n" % (event["type"], json.dumps(event))).encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def do_HEAD(self):
        self.reply({})

    def do_GET(self):
        self.note()
        self.refuse(404, "not_found_error", "not served")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        path = self.path.split("?")[0]
        protocol = next((p for p in (Anthropic, Responses) if path.endswith(p.suffix)), None)
        if protocol is None:
            self.note(body=body)
            return self.refuse(404, "not_found_error", "not served")
        step = None if protocol.wants_form(body) else next_step(protocol.turns(body))
        call = protocol.call(body, step, self.server.workspace) if step in ("write", "shell", "escape") else None
        self.note(step=step, call=call, body=body)
        if step == "fail":
            return self.refuse(400, "invalid_request_error", "refused as ordered")
        self.stream(protocol.events(body, call))


class Server(ThreadingHTTPServer):
    """The server. An agent that goes away in the middle of an answer is no error."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description="a model that follows orders, on the loopback address")
    parser.add_argument("--workspace", required=True, help="the folder that files are written to")
    parser.add_argument("--log", help="a file that each request is appended to, as a line of JSON")
    options = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    server.workspace = options.workspace
    server.log = open(options.log, "a", encoding="utf-8") if options.log else None
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
