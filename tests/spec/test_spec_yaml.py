"""What YAML alone shows to be wrong: not YAML at all, and values that readers disagree about."""

import pytest

SYNTAX = [
    ("", ["0:0 : the file is empty (dplaunch init writes one to start from)"]),
    ("# only words\n", ["0:0 : the file is empty (dplaunch init writes one to start from)"]),
    (
        "- 1\n",
        [
            "1:1 : the file holds a list, not keys with values (start with: cluster: NAME (dplaunch init writes a whole file))"
        ],
    ),
    (
        "just text\n",
        [
            "1:1 : the file holds text, not keys with values (start with: cluster: NAME (dplaunch init writes a whole file))"
        ],
    ),
    ("cluster: [1\n", ["1:10 : not YAML: a [ is not closed (look for a missing ] or comma)"]),
    ("cluster: {a: 1\n", ["1:10 : not YAML: a { is not closed (look for a missing } or comma)"]),
    ("\tcluster: c\n", ["1:1 : not YAML: a tab indents this line (indent with spaces)"]),
    ("cluster: c\n\tmodel: m\n", ["2:1 : not YAML: a tab indents this line (indent with spaces)"]),
    (
        "cluster: @c\n",
        ["1:10 : not YAML: a value cannot begin with this character (put the value in quotes)"],
    ),
    (
        "cluster: a\n---\ncluster: b\n",
        [
            "2:1 : not YAML: a second document begins here; a cluster file is one (remove the --- or split the file)"
        ],
    ),
    (
        "cluster: a: b\n",
        [
            "1:11 : not YAML: a ':' stands where no key can (put text that holds ': ' in quotes, or look at the indentation)"
        ],
    ),
    ('cluster: "a\n', ["1:10 : not YAML: a quote is not closed (look for a missing quote)"]),
    (
        "cluster: *a\n",
        ["1:10 : not YAML: this alias names nothing (define it above with &name, or put the * in quotes)"],
    ),
    ("a: &x 1\nb: &x 2\n", ["2:4 : not YAML: this anchor's name is already used (give it another name)"]),
    ("cluster: c\nmodel\nnodes: x\n", ["2:1 : not YAML: a key has no ':' (write key: value)"]),
    (
        "a:\n    b: 1\n  c: 2\n",
        [
            "3:3 : not YAML: this does not fit what stands around it (align it with its neighbours; nothing may follow a closing quote)"
        ],
    ),
    (
        "a: 'x' y\n",
        [
            "1:8 : not YAML: this does not fit what stands around it (align it with its neighbours; nothing may follow a closing quote)"
        ],
    ),
    (
        "a: {nodes: n[1-4]}\n",
        ['1:13 : not YAML: inside { } or [ ] a range needs quotes (write it as "n[1-4]")'],
    ),
    ("a: [n[1-4]]\n", ['1:6 : not YAML: inside { } or [ ] a range needs quotes (write it as "n[1-4]")']),
    (
        "a: {\n",
        [
            "1:4 : not YAML: a value is missing here (look for a bracket that is not closed, or a comma too many)"
        ],
    ),
    ("a: [1, @]\n", ["1:8 : not YAML: a value cannot begin with this character (put the value in quotes)"]),
    ("cluster: c\x07\n", ["1:11 : not YAML: the character U+0007 does not print (remove it)"]),
    ("x: 1\ncluster: \ud800  \n", ["2:10 : not YAML: the character U+D800 does not print (remove it)"]),
    (
        "a: !<tag:\n",
        [
            "1:4 : not YAML: while scanning a tag did not find the expected '>' (look at the indentation and the quotes here)"
        ],
    ),
]

VALUES = [
    (
        {"d": "defaults: {args: , env: }"},
        [
            '6:18 defaults.args: defaults.args has no value (give it one, or remove the key ("" is the empty text))',
            '6:25 defaults.env: defaults.env has no value (give it one, or remove the key ("" is the empty text))',
        ],
    ),
    (
        {"model": "model: yes"},
        [
            '3:8 model: yes is text to some YAML readers and true or false to others (write true or false, or "yes" in quotes for the text)'
        ],
    ),
    (
        {"model": "model: NO"},
        [
            '3:8 model: NO is text to some YAML readers and true or false to others (write true or false, or "NO" in quotes for the text)'
        ],
    ),
    ({"model": 'model: "no"'}, []),
    (
        {"runtime": "runtime: {setup: [off, On]}"},
        [
            '6:19 runtime.setup[0]: off is text to some YAML readers and true or false to others (write true or false, or "off" in quotes for the text)',
            '6:24 runtime.setup[1]: On is text to some YAML readers and true or false to others (write true or false, or "On" in quotes for the text)',
        ],
    ),
    (
        {"x": "on: 1"},
        [
            '6:1 on: the key on is text to some YAML readers and true or false to others (write "on" in quotes)'
        ],
    ),
    (
        {"ready": "ready_timeout: 1:30"},
        [
            '6:16 ready_timeout: 1:30 is a number in base 60 to YAML (write a duration as 1h30m, or "1:30" in quotes for the text)'
        ],
    ),
    (
        {"ready": "ready_timeout: 1:30:00.5"},
        [
            '6:16 ready_timeout: 1:30:00.5 is a number in base 60 to YAML (write a duration as 1h30m, or "1:30:00.5" in quotes for the text)'
        ],
    ),
    ({"model": "model: 1:75"}, []),
    (
        {"model": "model: 010"},
        [
            '3:8 model: 010 is octal to some YAML readers and decimal to others (write it without the leading zero, or "010" in quotes for the text)'
        ],
    ),
    (
        {"model": "model: 08"},
        [
            '3:8 model: 08 is octal to some YAML readers and decimal to others (write it without the leading zero, or "08" in quotes for the text)'
        ],
    ),
    (
        {"model": "model: -007_1"},
        [
            '3:8 model: -007_1 is octal to some YAML readers and decimal to others (write it without the leading zero, or "-007_1" in quotes for the text)'
        ],
    ),
    (
        {
            "d": "defaults: {args: {a: 1e5, b: 1.5E-3, c: .5e2, d: 1.0e+5, e: 0x1F, f: 1_000, g: 0, h: 0.5, i: -3, j: 12e}}"
        },
        [
            '6:22 defaults.args.a: 1e5 is text to some YAML readers and a number to others (write it with a point and a sign, as 1.0e-5, or "1e5" in quotes for the text)',
            '6:41 defaults.args.c: .5e2 is text to some YAML readers and a number to others (write it with a point and a sign, as 1.0e-5, or ".5e2" in quotes for the text)',
        ],
    ),
    (
        {"d": "defaults: {args: {a: .inf, b: -.INF, c: .nan}}"},
        [
            '6:22 defaults.args.a: .inf is not a number a flag can take (write a number, or ".inf" in quotes for the text)',
            '6:31 defaults.args.b: -.INF is not a number a flag can take (write a number, or "-.INF" in quotes for the text)',
            '6:41 defaults.args.c: .nan is not a number a flag can take (write a number, or ".nan" in quotes for the text)',
        ],
    ),
    ({"d": "defaults: {args: {a: 2024-01-02, b: '010', c: '1:30', d: 'yes', e: '1e5', f: =}}"}, []),
    (
        {"d": "defaults: {env: {a: yes, b: 010, c: 1:30, d: True, e: .inf, f: 1e5, on: 1, '010': 2}}"},
        ["6:76 defaults.env.010: '010' is no environment variable: letters, digits and '_'"],
    ),
    (
        {"d": "defaults: {env: {a: , b: ~, c: null, d: ''}}"},
        [
            '6:21 defaults.env.a: defaults.env.a has no value (give it one, or remove the key ("" is the empty text))',
            '6:26 defaults.env.b: defaults.env.b has no value (give it one, or remove the key ("" is the empty text))',
            '6:32 defaults.env.c: defaults.env.c has no value (give it one, or remove the key ("" is the empty text))',
        ],
    ),
    (
        {"d": "defaults:\n"},
        ['6:10 defaults: defaults has no value (give it one, or remove the key ("" is the empty text))'],
    ),
    ({"d": "defaults: {args: {a: null, b: }}"}, []),
    (
        {"d": "kv_transfer: {connector: x, extra: {a: null}}"},
        ["6:1 kv_transfer: kv_transfer needs prefill and decode, and there is only serve (remove it)"],
    ),
    (
        {"d": "router: {node: null, args: {a: ~}}"},
        [
            '6:16 router.node: router.node has no value (give it one, or remove the key ("" is the empty text))'
        ],
    ),
    (
        {"model": 'model: "a\\0b"'},
        ["3:8 model: model has a zero byte, which no command line can hold (remove the \\0)"],
    ),
    (
        {"model": "model: !mine x"},
        ["3:8 model: the YAML tag !mine does not fit here (write the plain value)"],
    ),
    (
        {"model": "model: !!int x"},
        ["3:8 model: the YAML tag !!int does not fit here (write the plain value)"],
    ),
    (
        {"model": "model: !!binary eA=="},
        ["3:8 model: the YAML tag !!binary does not fit here (write the plain value)"],
    ),
    ({"model": "model: !!str 7"}, []),
    ({"d": "cluster: again"}, ["6:1 cluster: 'cluster' is already given on line 1 (keep one of the two)"]),
    (
        {"d": "defaults: {env: {A: 1, A: 2}, args: {b: {c: 1, c: 2}}}\nmodel: n"},
        [
            "6:24 defaults.env.A: 'A' is already given on line 6 (keep one of the two)",
            "6:48 defaults.args.b.c: 'c' is already given on line 6 (keep one of the two)",
            "7:1 model: 'model' is already given on line 3 (keep one of the two)",
        ],
    ),
    (
        {"d": "'model': n\n\"model\": o"},
        [
            "6:1 model: 'model' is already given on line 3 (keep one of the two)",
            "7:1 model: 'model' is already given on line 3 (keep one of the two)",
        ],
    ),
    (
        {"d": "defaults: {args: {a: &l [1, *l]}}"},
        [
            "6:22 defaults.args.a[1]: defaults.args.a[1] contains itself (an alias (*name) may not stand inside what it names)"
        ],
    ),
    (
        {"d": "defaults: {args: &m {a: *m}}"},
        [
            "6:18 defaults.args.a: defaults.args.a contains itself (an alias (*name) may not stand inside what it names)"
        ],
    ),
    (
        {"d": "? [a]\n: b\n? {a: b}\n: c"},
        [
            "6:3 : a key must be one word, not a list or a map",
            "8:3 : a key must be one word, not a list or a map",
        ],
    ),
    (
        {
            "d": "defaults: {args: {a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}"
        },
        [
            "6:40 defaults.args.a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: values nest more than 20 levels deep here (look for brackets that are not closed)"
        ],
    ),
    (
        {"d": "defaults: {<<: 1}"},
        ["6:16 defaults: << takes a map, or a list of maps (name one with an alias: <<: *name)"],
    ),
    (
        {"d": "defaults: {<<: [1, {env: {A: 1}}]}"},
        ["6:17 defaults: << takes a map, or a list of maps (name one with an alias: <<: *name)"],
    ),
    (
        {"d": "true: 1\n010: 2\n'yes': 3"},
        [
            "6:1 true: unknown key 'true' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
            '7:1 010: the key 010 is octal to some YAML readers and decimal to others (write "010" in quotes)',
            "8:1 yes: unknown key 'yes' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
        ],
    ),
]


@pytest.mark.parametrize(("text", "problems"), SYNTAX)
def test_what_is_not_yaml_is_one_problem_at_its_place(told, text, problems):
    assert told(text) == problems


@pytest.mark.parametrize(("sections", "problems"), VALUES)
def test_a_value_that_readers_disagree_about_is_refused(told, small, sections, problems):
    assert told(small(**sections)) == problems
