#!/usr/bin/env python3
"""Writes, from include/midge.h, a C function for every function of the header that calls it with good and bad arguments.

    generate.py include/midge.h >calls.h

What a parameter may be given follows from its type and its name; the first value is the worst (NULL where there is a
NULL), the last one is right. A type that is not known here is an error: whoever adds a function teaches this script
its types, and the function is abused like all others. The calls, and what is checked after each, are in storm.h.
"""
import re
import sys

SIZE_MAX, UINT64_MAX = "SIZE_MAX", "UINT64_MAX"

# What the fixture has of each type of handle.
HANDLES = {
    "midge_broker": ["NULL", "f->stopped", "f->test", "f->live"],
    "midge_queue": ["NULL", "f->queue_stopped", "f->queue"],
    "midge_config": ["NULL", "f->config"],
    "midge_error": ["NULL", "f->error"],
    "midge_message": ["NULL", "midge_batch_at(f->batch, 0)", "midge_batch_at(f->batch, 1)", "f->message"],
    "midge_batch": ["NULL", "f->batch"],
    "midge_clients": ["NULL", "f->clients"],
    "midge_listeners": ["NULL", "f->listeners"],
    "midge_subscriptions": ["NULL", "f->subscriptions"],
    "midge_decision": ["NULL", "f->decision"],
    # Lives only while a hook runs, where abuse.c has one.
    "midge_edit": ["NULL", "f->edit"],
    "midge_retained": ["NULL", "f->retained"],
    "midge_queued": ["NULL", "f->queued"],
    "midge_subscription": ["NULL", "f->of_queue", "f->of_callback"],
}
# The handles that a call of `<type>_free` takes from the fixture.
FREED = {
    "midge_broker_free": ["f->stopped", "f->test", "f->live"],
    "midge_queue_free": ["f->queue_stopped", "f->queue"],
    "midge_config_free": ["f->config"],
    "midge_error_free": ["f->error"],
    "midge_message_free": ["f->message"],
    "midge_batch_free": ["f->batch"],
    "midge_clients_free": ["f->clients"],
    "midge_listeners_free": ["f->listeners"],
    "midge_subscriptions_free": ["f->subscriptions"],
    "midge_subscription_free": ["f->of_queue", "f->of_callback"],
    "midge_decision_free": ["f->decision"],
    "midge_retained_free": ["f->retained"],
    "midge_queued_free": ["f->queued"],
    "midge_string_free": ["f->string"],
}
# What needs a broker in test mode.
TESTING = r"midge_broker_(advance|time|inject|fault_hits|clear_fault|cut|pause|published|forget_published|wait_for\w*|crash|restart|set_disk)"
# Where TIMED_OUT comes with an error, too.
TOLD = ["midge_broker_wait_for"]
STARTS = ("midge_start", "midge_start_test", "midge_start_test_durable")
# After these the fixture is made anew.
ENDS = ["midge_stop", "midge_broker_crash", "midge_broker_restart", "midge_decision_resolve", "midge_decision_resolve_auth"]
# The last is right in most places. A topic filter with wildcards is no topic name, and so on.
TEXTS = ["NULL", '""', '"\\xff\\xfe"', '"a/#/b"', "long_text", '"+/#"', '"mqtt.max_qos"', '"1"', '"a"']
RIGHT_TEXTS = {
    "key": ['"mqtt.max_qos"'],
    "value": ['"1"'],
    "path": ['"/dev/null"'],
    "toml": ['"[mqtt]\\nmax_qos = 1\\n"'],
    "listener": ['"tcp"'],
}
# Where the defaults of a struct are not right by themselves.
RIGHT_FIELDS = {"midge_fault": "action = MIDGE_FAULT_DROP"}
INTEGERS = {
    "int32_t": ["INT32_MIN", "-1", "INT32_MAX", "2", "1", "0"],
    "int64_t": ["INT64_MIN", "-1", "INT64_MAX", "1", "0"],
    "uint64_t": [UINT64_MAX, "1", "0"],
    "size_t": [SIZE_MAX, "SIZE_MAX / 2", "0", "1"],
    "midge_status": ["INT32_MIN", "-100", "100", "INT32_MAX", "0"],
}
PAYLOADS = [("NULL", SIZE_MAX), ("NULL", "1"), ("large", SIZE_MAX), ("large", "SIZE_MAX / 2 + 1"),
            ("large", "sizeof large"), ("NULL", "0"), ("large", "0"), ("large", "1")]


def main():
    header = open(sys.argv[1], encoding="utf-8").read()
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    structs = {name: fields(body) for body, name in
               re.findall(r"typedef struct midge_\w+ \{(.*?)\} (midge_\w+);", header, flags=re.S)}
    inits = set(re.findall(r"#define (MIDGE_\w+_INIT)\b", header))
    text = re.sub(r"^#.*(\\\n.*)*$", "", header, flags=re.M)
    text = re.sub(r"\{[^{}]*\}", "{}", text.replace('extern "C" {', "").replace("struct ", ""))
    functions = []
    for result, name, parameters in re.findall(
            r"(?:^|;|\})\s*((?:const )?\w+ \*?)\s*(midge_\w+)\(([^()]*)\)\s*(?=;)", text):
        if "typedef" not in result:
            functions.append((result.strip(), name, split(parameters)))
    if not functions:
        sys.exit("no functions found")
    print("/* Written by tests/c/abuse/generate.py from include/midge.h. */")
    for result, name, parameters in functions:
        print("\n".join(call(result, name, parameters, structs, inits)))
    print("static const struct abused abused[] = {")
    for _, name, _ in functions:
        ends = int(name in ENDS or name in FREED)
        print(f'    {{ "{name}", call_{name}, sizes_{name}, sizeof sizes_{name} / sizeof sizes_{name}[0], {ends} }},')
    print("};")


def fields(body):
    return re.findall(r"(?:^|;)\s*([\w ]+?[ *]+)(\w+)(?=;)", re.sub(r"\s+", " ", body))


def split(parameters):
    if parameters.strip() == "void":
        return []
    found = []
    for parameter in re.sub(r"\s+", " ", parameters).split(","):
        kind, name = re.fullmatch(r"\s*(.*?)(\w+)\s*", parameter).groups()
        found.append((kind.strip(), name))
    return found


def call(result, name, parameters, structs, inits):
    """The C function that makes one call, with the values that `at` chooses."""
    before, arguments, after, sizes = [], [], [], []
    is_status = result == "midge_status"
    handle = None
    position = 0
    failed = "status < 0 || status == MIDGE_STATUS_TIMED_OUT" if name in TOLD else "status < 0"

    def choose(kind, values, what):
        before.append(f"    {kind} values_{what}[] = {{ {', '.join(values)} }};")
        sizes.append(len(values))
        return f"values_{what}[at[{len(sizes) - 1}]]"

    while position < len(parameters):
        kind, what = parameters[position]
        pointed = re.sub(r"^const ", "", kind).rstrip("* ").strip()
        following = parameters[position + 1] if position + 1 < len(parameters) else ("", "")
        if name in FREED:
            names = FREED[name]
            before.append(f"    {pointed} *none = NULL, **values_{what}[] = {{ &none, {', '.join('&' + n for n in names)} }};")
            sizes.append(len(names) + 1)
            before.append(f"    {pointed} **taken = values_{what}[at[0]];")
            arguments.append("*taken")
            after.append("    *taken = NULL;")
        elif kind == "const void *" and following[0] == "size_t":
            chosen = len(sizes)
            rows = ", ".join(f"{{ {data}, {length} }}" for data, length in PAYLOADS)
            before.append(f"    const struct payload values_{what}[] = {{ {rows} }};")
            sizes.append(len(PAYLOADS))
            arguments += [f"values_{what}[at[{chosen}]].data", f"values_{what}[at[{chosen}]].len"]
            position += 1
        elif what in ("names", "values", "identifiers") and kind in ("midge_bytes *", "uint32_t *"):
            # Room for all that the fixture's message has, whatever `capacity` says.
            before.append(f"    {pointed} room_{what}[64];")
            arguments.append(choose(kind, ["NULL", f"room_{what}"], what))
        elif kind == "const char *const *":
            arguments.append(choose("const char *const *", ["NULL", "bad_texts", "good_texts"], what))
        elif kind == "const void *const *":
            arguments.append(choose("const void *const *", ["NULL", "good_payloads"], what))
        elif kind == "const size_t *":
            arguments.append(choose("const size_t *", ["NULL", "bad_lens", "good_lens"], what))
        elif what == "count" and any(k.startswith("const char *const") for k, _ in parameters):
            arguments.append(choose("size_t", [SIZE_MAX, "0", "2"], what))
        elif kind == "const char *":
            arguments.append(choose("const char *", TEXTS + RIGHT_TEXTS.get(what, []), what))
            if is_status:
                after.append(f"    if (at[{len(sizes) - 1}] == 2)\n        CHECK_CALL(status != MIDGE_STATUS_OK);")
        elif kind in ("midge_error **", "char **") or (kind.endswith("**") and pointed in HANDLES):
            free = "midge_string_free" if pointed == "char" else f"{pointed}_free"
            before.append(f"    {pointed} *got_{what} = NULL;")
            arguments.append(choose(f"{pointed} **", ["NULL", f"&got_{what}"], what))
            if pointed == "midge_error":
                after.append(f"    if (at[{len(sizes) - 1}] == 1)\n        CHECK_CALL((got_{what} != NULL) == ({failed}));")
            else:
                after.append(f"    CHECK_CALL((got_{what} != NULL) == (status == MIDGE_STATUS_OK));")
            after.append(f"    {free}(got_{what});")
        elif what == "fd" and kind == "int32_t":
            before.append("    int pair[2];")
            before.append("    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);")
            arguments.append(choose(kind, ["INT32_MIN", "-1", "INT32_MAX", "f->file", "pair[0]"], what))
            after.append(f"    if (status != MIDGE_STATUS_OK || at[{len(sizes) - 1}] != 4)\n        close(pair[0]);\n    close(pair[1]);")
        elif kind.rstrip("* ") in INTEGERS and not kind.endswith("*"):
            if what == "timeout_ms" and handle == "midge_broker" and name != "midge_broker_wait":
                before.append("    int32_t longest = at[0] <= 1 ? INT32_MAX : 0;")
                values = ["longest ? INT32_MIN : 0", "longest ? -1 : 0", "longest", "1", "0"]
            else:
                values = INTEGERS[kind]
            arguments.append(choose(kind, values, what))
        elif kind == "midge_message_fn":
            arguments.append(choose(kind, ["NULL", "ignore"], what))
        elif kind == "midge_acknowledged_fn":
            arguments.append(choose(kind, ["NULL", "acknowledged"], what))
        elif kind == "midge_log_fn":
            arguments.append(choose(kind, ["NULL", "log_nothing"], what))
            # What was set is not kept, nor is its user data.
            after.append("    (void)midge_config_set_log(f->config, MIDGE_LOG_ERROR, NULL, NULL, NULL);")
        elif kind == "midge_free_fn":
            arguments.append(choose(kind, ["NULL", "count_free"], what))
            after.append(f"    CHECK_CALL(freed == (at[{len(sizes) - 1}] == 1));")
        elif kind == "void *" and what == "user_data":
            before.append("    int freed = 0;")
            arguments.append("&freed")
        elif pointed in structs and pointed != "midge_bytes" and "**" not in kind:
            const = kind.startswith("const ")
            variants = grown(pointed, structs[pointed], const, inits)
            before.append(f"    struct {pointed}_room {{ {pointed} value; unsigned char more[4096]; }} room_{what};")
            before.append(f"    const {pointed} fresh_{what} = {init(pointed, inits)};")
            before.append(f"    {pointed} *values_{what}[] = {{ NULL, &room_{what}.value }};")
            before.append(f"    memset(&room_{what}, 0, sizeof room_{what});")
            before.append(f"    room_{what}.value = fresh_{what};")
            if pointed in RIGHT_FIELDS:
                before.append(f"    room_{what}.value.{RIGHT_FIELDS[pointed]};")
            chosen = len(sizes)
            sizes.append(len(variants) + 2)
            before.append(f"    switch (at[{chosen}]) {{")
            for number, change in enumerate(variants):
                before.append(f"    case {number + 1}: room_{what}.value.{change}; break;")
            before.append("    default: break;\n    }")
            arguments.append(f"values_{what}[at[{chosen}] > 0]")
        elif kind.endswith("*") and pointed in HANDLES and "**" not in kind:
            values = HANDLES[pointed]
            if re.fullmatch(TESTING, name):
                values = ["NULL", "f->stopped", "f->live", "f->test"]
            if name in STARTS:
                # The defaults listen on a port that somebody may have.
                values = ["at[1] == 0 ? NULL : f->config", "f->config"]
            handle = handle or pointed
            # A message that is lent is const, one that is freed is not: the storm gives only what it may.
            arguments.append(choose(f"const {pointed} *" if kind.startswith("const") else f"{pointed} *", values, what))
            if is_status and position == 0 and name not in (*STARTS, "midge_error_code", "midge_stat_at"):
                after.append("    if (at[0] == 0)\n        CHECK_CALL(status == MIDGE_STATUS_INVALID_ARGUMENT);")
            if is_status and position == 0 and pointed in ("midge_broker", "midge_queue", "midge_decision"):
                after.append("    if (at[0] != 0 && f->forked)\n        CHECK_CALL(status < 0);")
        elif kind.endswith("*") and "**" not in kind and (pointed in INTEGERS or pointed == "midge_bytes"):
            blank = "MIDGE_BYTES_INIT" if pointed == "midge_bytes" else "0"
            before.append(f"    {pointed} got_{what} = {blank};")
            arguments.append(choose(f"{pointed} *", ["NULL", f"&got_{what}"], what))
        else:
            sys.exit(f"{name}: what may `{kind} {what}` be given? Teach tests/c/abuse/generate.py")
        position += 1

    if name in ("midge_decision_resolve", "midge_decision_resolve_auth"):
        after.append("    if (at[0] != 0 && status != MIDGE_STATUS_INVALID_ARGUMENT)\n        f->decision = NULL;")
    given = ", ".join(arguments)
    lines = [f"static int32_t call_{name}(fixture *f, const unsigned *at)", "{"] + before
    if is_status:
        lines.append("    midge_status status;")
    lines.append("    (void)f;\n    (void)at;")
    if is_status:
        lines.append(f"    status = {name}({given});")
    else:
        lines.append(f"    {'' if result == 'void' else '(void)'}{name}({given});")
    # What was got is freed before what user data says is counted.
    lines += [line for line in after if "freed" not in line] + [line for line in after if "freed" in line]
    lines.append(f"    return {'status' if is_status else '0'};\n}}")
    lines.append(f"static const unsigned sizes_{name}[] = {{ {', '.join(map(str, sizes)) or '1'} }};\n")
    return lines


def grown(name, members, const, inits):
    """What is done to a struct of the caller's: sizes, and the extremes of each field that Midge reads."""
    sizes = ["0", "1", "7", "9", "4104", SIZE_MAX]
    variants = [f"struct_size = {size}" for size in sizes] + ["struct_size = 8", "struct_size = 4096"]
    for kind, field in members[1:] if const else []:
        kind = kind.strip()
        if kind in INTEGERS:
            # A length or a count goes with a pointer; that one is NULL here.
            variants += [f"{field} = {value}" for value in INTEGERS[kind][:3]]
        elif kind == "const char *":
            variants += [f'{field} = "\\xff\\xfe"', f'{field} = ""', f"{field} = long_text", f'{field} = "a"']
    return variants


def init(name, inits):
    macro = re.sub(r"^midge_", "MIDGE_", name).upper() + "_INIT"
    if macro not in inits:
        sys.exit(f"{name} has no {macro}")
    return macro


if __name__ == "__main__":
    main()
