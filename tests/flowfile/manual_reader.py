"""A reader of flow files, written from man/mitmdump-flows.5 alone, with nothing but msgpack."""

import zlib

import msgpack


def frame_at(data, at):
    """Type, content and end of the whole frame that begins here, None if there is none."""
    length = int.from_bytes(data[at + 1 : at + 5], "big")
    end, crc = at + 6 + length, int.from_bytes(data[at + 6 : at + 10], "big")
    is_frame = data[at : at + 1] == b"\xc9" and 4 <= length <= 2**26 + 4 and end <= len(data)
    if is_frame and zlib.crc32(data[at + 5 : at + 6] + data[at + 10 : end]) == crc:
        return data[at + 5], data[at + 10 : end], end
    return None


def next_frame(data, at):
    """Where the next whole frame begins, given that none begins here."""
    claimed = at + 6 + int.from_bytes(data[at + 1 : at + 5], "big")
    if data[at] == 0xC9 and frame_at(data, claimed):
        return claimed
    while (at := data.find(b"\xc9", at + 1)) >= 0:
        if (found := frame_at(data, at)) and found[0] <= 5:
            return at
    return len(data)


def read(data):
    """The flows in the bytes of a file, as maps, and the damaged places as offset and size."""
    flows, damage, running, connections, at = [], [], {}, {}, 0
    while at < len(data):
        if not (found := frame_at(data, at)):
            damage.append((at, next_frame(data, at) - at))
            at += damage[-1][1]
            continue
        code, value, at = found[0], msgpack.unpackb(found[1], unicode_errors="surrogatepass"), found[2]
        if code == 0:
            if value["version"] > 1:
                raise ValueError("a newer version")
            flows += [give_out(each, connections) for each in running.values() if each["flow"]]
            running = {}
        elif code == 1:
            connections[value["id"]] = value
        elif code in (2, 3, 4):
            flow_id = value["id"] if code == 2 else value[0]
            each = running.setdefault(flow_id, {"flow": None, "bodies": ([], []), "messages": []})
            if code == 2:
                each["flow"] = value
                if value.get("done"):
                    flows.append(give_out(running.pop(flow_id), connections))
            elif code == 3:
                each["bodies"][value[1]].append(value[2])
            else:
                each["messages"].append(value[1:])
    return flows + [give_out(each, connections) for each in running.values() if each["flow"]], damage


def give_out(each, connections):
    """A flow with its connections, bodies and messages in it."""
    flow, bodies = each["flow"], [b"".join(pieces) for pieces in each["bodies"]]
    came = [len(body) for body in bodies], len(each["messages"])
    if not flow.get("done") or (flow.get("streamed", came[0]), flow.get("messages", came[1])) != came:
        flow.setdefault("error", {"msg": "cut off, or a part was lost"})
    for body, name in zip(bodies, ("request", "response"), strict=True):
        if body and name in flow:
            flow[name].setdefault("body", {}).setdefault("content", body)
    sides = {side: connections.get(flow.get(side), {}) for side in ("client", "server")}
    return flow | sides | {"messages": each["messages"]}
