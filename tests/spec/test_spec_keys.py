"""Each key alone: unknown, missing, of a wrong kind, out of bounds; every message and place."""

import pytest

SCHEMA = [
    (
        "x: 1\n",
        [
            "1:1 cluster: 'cluster' is missing (add it; dplaunch explain cluster says what it takes)",
            "1:1 engine: 'engine' is missing (add it; dplaunch explain engine says what it takes)",
            "1:1 model: 'model' is missing (add it; dplaunch explain model says what it takes)",
            "1:1 nodes: 'nodes' is missing (add it; dplaunch explain nodes says what it takes)",
            "1:1 roles: 'roles' is missing (add it; dplaunch explain roles says what it takes)",
            "1:1 x: unknown key 'x' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
        ],
    ),
    (
        "cluster: c\n",
        [
            "1:1 engine: 'engine' is missing (add it; dplaunch explain engine says what it takes)",
            "1:1 model: 'model' is missing (add it; dplaunch explain model says what it takes)",
            "1:1 nodes: 'nodes' is missing (add it; dplaunch explain nodes says what it takes)",
            "1:1 roles: 'roles' is missing (add it; dplaunch explain roles says what it takes)",
        ],
    ),
    ({"cluster": "cluster: 12"}, ["1:10 cluster: cluster takes text, not the number 12 (put it in quotes)"]),
    (
        {"cluster": "cluster: a b"},
        ["1:10 cluster: 'a b' is no name: letters, digits, '.', '_', '-', at most 63"],
    ),
    (
        {"cluster": "cluster: -a"},
        ["1:10 cluster: '-a' is no name: letters, digits, '.', '_', '-', at most 63"],
    ),
    ({"cluster": "cluster: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, []),
    (
        {"cluster": "cluster: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        [
            "1:10 cluster: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is no name: letters, digits, '.', '_', '-', at most 63"
        ],
    ),
    ({"cluster": "cluster: ''"}, ["1:10 cluster: '' is no name: letters, digits, '.', '_', '-', at most 63"]),
    ({"cluster": "cluster: [c]"}, ["1:10 cluster: cluster takes text, not a list"]),
    ({"cluster": "cluster: {c: 1}"}, ["1:10 cluster: cluster takes text, not a map"]),
    ({"cluster": "cluster: true"}, ["1:10 cluster: cluster takes text, not true (put it in quotes)"]),
    ({"cluster": "clustre: c"}, ["1:1 clustre: unknown key 'clustre' (did you mean 'cluster'?)"]),
    ({"model": 'model: ""'}, ["3:8 model: model takes text, not an empty text"]),
    (
        {"engine": "engine: vllm"},
        [
            "2:9 engine: engine takes keys with values, not the text 'vllm' (its keys are: kind, version, path)"
        ],
    ),
    (
        {"engine": "engine: {kind: vllm-ascned}"},
        [
            "2:16 engine.kind: engine.kind takes one of vllm-ascend, vllm, script, rehearsal, not the text 'vllm-ascned' (did you mean 'vllm-ascend'?)"
        ],
    ),
    (
        {"engine": "engine: {kind: sglang}"},
        [
            "2:16 engine.kind: engine.kind takes one of vllm-ascend, vllm, script, rehearsal, not the text 'sglang'"
        ],
    ),
    (
        {"engine": "engine: {kind: 3}"},
        ["2:16 engine.kind: engine.kind takes one of vllm-ascend, vllm, script, rehearsal, not the number 3"],
    ),
    (
        {"engine": "engine: {}"},
        [
            "2:1 engine.kind: 'kind' is missing in engine (add it; dplaunch explain engine.kind says what it takes)"
        ],
    ),
    (
        {"engine": "engine: {kind: rehearsal, version: 0.10}"},
        [
            '2:36 engine.version: engine.version is written as a number, and 0.10 would become 0.1 (write all of it in quotes: version: "0.23.0")'
        ],
    ),
    (
        {"engine": "engine: {kind: rehearsal, version: 1}"},
        [
            '2:36 engine.version: engine.version is written as a number, and 0.10 would become 0.1 (write all of it in quotes: version: "0.23.0")'
        ],
    ),
    (
        {"engine": "engine: {kind: rehearsal, version: latest}"},
        [
            "2:36 engine.version: engine.version takes a version such as 0.23.0 or 0.20.2rc1, not the text 'latest' (write all of it in quotes: version: \"0.23.0\")"
        ],
    ),
    (
        {"engine": "engine: {kind: rehearsal, version: '1'}"},
        [
            "2:36 engine.version: engine.version takes a version such as 0.23.0 or 0.20.2rc1, not the text '1' (write all of it in quotes: version: \"0.23.0\")"
        ],
    ),
    (
        {"engine": "engine: {kind: rehearsal, version: [1]}"},
        [
            '2:36 engine.version: engine.version takes a version such as 0.23.0 or 0.20.2rc1, not a list (write all of it in quotes: version: "0.23.0")'
        ],
    ),
    ({"engine": "engine: {kind: rehearsal, version: v0.20.2rc1}"}, []),
    ({"engine": "engine: {kind: rehearsal, version: 0.11.0.post1}"}, []),
    (
        {"engine": "engine: {kind: rehearsal, version: 0.11.0-rc1}"},
        [
            "2:36 engine.version: engine.version takes a version such as 0.23.0 or 0.20.2rc1, not the text '0.11.0-rc1' (write all of it in quotes: version: \"0.23.0\")"
        ],
    ),
    (
        {"h": "hardware: atlas-800t-a4"},
        ["6:11 hardware: hardware 'atlas-800t-a4' is not known (did you mean 'atlas-800t-a3'?)"],
    ),
    ({"h": "hardware: tpu"}, ["6:11 hardware: hardware 'tpu' is not known (did you mean 'cpu'?)"]),
    (
        {"h": "hardware: 8"},
        [
            "6:11 hardware: hardware takes a name, or a map with devices and family, not the number 8 (known names are: atlas-800t-a3, atlas-800i-a3, atlas-800t-a2, atlas-800i-a2, gpu-8, cpu)"
        ],
    ),
    (
        {"h": "hardware: [8]"},
        [
            "6:11 hardware: hardware takes a name, or a map with devices and family, not a list (known names are: atlas-800t-a3, atlas-800i-a3, atlas-800t-a2, atlas-800i-a2, gpu-8, cpu)"
        ],
    ),
    (
        {"h": "hardware: {devices: -1}"},
        ["6:21 hardware.devices: hardware.devices takes a number of at least 0, not the number -1"],
    ),
    (
        {"h": "hardware: {devices: 2, family: a4}"},
        ["6:32 hardware.family: hardware.family takes one of a2, a3, gpu, cpu, not the text 'a4'"],
    ),
    (
        {"h": "hardware: {family: a3}"},
        [
            "6:1 hardware.devices: 'devices' is missing in hardware (add it; dplaunch explain hardware.devices says what it takes)"
        ],
    ),
    (
        {"h": "hardware: {devices: 8.5}"},
        ["6:21 hardware.devices: hardware.devices takes a whole number, not the number 8.5"],
    ),
    (
        {"h": "hardware: {devices: 2.0}"},
        ["6:21 hardware.devices: hardware.devices takes a whole number, not the number 2.0"],
    ),
    (
        {"h": "hardware: {device: 2}"},
        ["6:12 hardware.device: unknown key 'device' in hardware (did you mean 'devices'?)"],
    ),
    ({"nodes": "nodes: []"}, ["4:8 nodes: nodes takes at least one entry, not an empty list"]),
    ({"nodes": "nodes: n1"}, ["4:8 nodes: nodes takes a list, not the text 'n1'"]),
    (
        {"nodes": "nodes: [n1, n2]"},
        [
            "4:9 nodes[0]: nodes[0] takes keys with values, not the text 'n1' (its keys are: name, host, address, nic, devices, ssh, env, args)",
            "4:13 nodes[1]: nodes[1] takes keys with values, not the text 'n2' (its keys are: name, host, address, nic, devices, ssh, env, args)",
        ],
    ),
    ({"nodes": "nodes: {n1: x}"}, ["4:8 nodes: nodes takes a list, not a map"]),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: 2, host: 192.0.2.2}"},
        [
            "6:12 nodes[1].name: nodes[1].name takes a name or a range such as n[1-4], not the number 2 (put a number in quotes to make it a name)"
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {host: 192.0.2.2}"},
        [
            "6:5 nodes[1].name: 'name' is missing in nodes[1] (add it; dplaunch explain nodes.name says what it takes)"
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: 'n[2-', host: 192.0.2.2}"},
        [
            "6:12 nodes[1].name: 'n[2-' has a bracket without its partner (ranges are written n[1-4], n[01-16] or n[1-3,5])"
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: 'n[2-3]', host: 192.0.2.2}"},
        [
            "6:5 nodes[1]: name stands for 2 nodes, host for 1 (ranges of one entry go in step: n[1-4] with 192.0.2.[1-4])"
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: '192.0.2.[2-3]'}"},
        [
            "6:5 nodes[1]: name stands for 1 node, host for 2 (ranges of one entry go in step: n[1-4] with 192.0.2.[1-4])"
        ],
    ),
    (
        {
            "nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 192.0.2.2, address: '192.0.2.[2-3]'}"
        },
        [
            "6:5 nodes[1]: name stands for 1 node, address for 2 (ranges of one entry go in step: n[1-4] with 192.0.2.[1-4])"
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, hots: 192.0.2.2}"},
        ["6:16 nodes[1].hots: unknown key 'hots' in nodes[1] (did you mean 'host'?)"],
    ),
    (
        {
            "nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 192.0.2.2, devices: -1, nic: ''}"
        },
        [
            "6:42 nodes[1].devices: nodes[1].devices takes a number of at least 0, not the number -1",
            "6:51 nodes[1].nic: nodes[1].nic takes text, not an empty text",
        ],
    ),
    (
        {
            "nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 192.0.2.2, ssh: {port: 0, user: 1}}"
        },
        [
            "6:45 nodes[1].ssh.port: nodes[1].ssh.port takes a number of at least 1, not the number 0",
            "6:54 nodes[1].ssh.user: nodes[1].ssh.user takes text, not the number 1 (put it in quotes)",
        ],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: 'n 2', host: 192.0.2.2}"},
        ["6:12 nodes[1].name: 'n 2' is no name: letters, digits, '.', '_', '-', at most 63"],
    ),
    (
        {
            "nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: -oProxyCommand=x, address: 192.0.2.2}"
        },
        ["6:22 nodes[1].host: '-oProxyCommand=x' is no host name and no address"],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 'a b', address: 192.0.2.2}"},
        ["6:22 nodes[1].host: 'a b' is no host name and no address"],
    ),
    ({"s": "ssh: {port: 65535, host_keys: accept-new}"}, []),
    (
        {"s": "ssh: {port: 65536}"},
        ["6:13 ssh.port: ssh.port takes a number of at most 65535, not the number 65536"],
    ),
    (
        {"s": "ssh: {port: '22'}"},
        ["6:13 ssh.port: ssh.port takes a whole number, not the text '22' (remove the quotes)"],
    ),
    ({"s": "ssh: {port: 22.5}"}, ["6:13 ssh.port: ssh.port takes a whole number, not the number 22.5"]),
    (
        {"s": "ssh: {host_keys: no-check}"},
        ["6:18 ssh.host_keys: ssh.host_keys takes one of strict, accept-new, not the text 'no-check'"],
    ),
    (
        {"s": "ssh: {connect_timeout: 0}"},
        [
            "6:24 ssh.connect_timeout: ssh.connect_timeout takes a duration above zero, not the number 0 (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    ({"s": "ssh: {connect_timeout: 5m}"}, []),
    (
        {"s": "ssh: root"},
        [
            "6:6 ssh: ssh takes keys with values, not the text 'root' (its keys are: user, port, key, jump, host_keys, connect_timeout)"
        ],
    ),
    ({"s": "ssh: {usr: root}"}, ["6:7 ssh.usr: unknown key 'usr' in ssh (did you mean 'user'?)"]),
    (
        {"s": "ssh: {user: -x, jump: 'a b'}"},
        [
            "6:13 ssh.user: '-x' is no single word, or begins with a dash",
            "6:23 ssh.jump: 'a b' is no single word, or begins with a dash",
        ],
    ),
    ({"s": "ssh: {jump: 'u@a:22,b'}"}, []),
    ({"s": "ssh: {user: a b}"}, ["6:13 ssh.user: 'a b' is no single word, or begins with a dash"]),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 192.0.2.2, address: ''}"},
        ["6:42 nodes[1].address: a name is empty (ranges are written n[1-4], n[01-16] or n[1-3,5])"],
    ),
    (
        {"nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: '../n2', host: 192.0.2.2}"},
        ["6:12 nodes[1].name: '../n2' is no name: letters, digits, '.', '_', '-', at most 63"],
    ),
    (
        {
            "nodes": "nodes:\n  - {name: n1, host: 192.0.2.1}\n  - {name: n2, host: 'fe80::1%eth0', address: 192.0.2.2}"
        },
        [],
    ),
    (
        {"s": "runtime: {setup: source x}"},
        ["6:18 runtime.setup: runtime.setup takes a list, not the text 'source x'"],
    ),
    (
        {"s": "runtime: {setup: ['']}"},
        ["6:19 runtime.setup[0]: runtime.setup[0] takes text, not an empty text"],
    ),
    (
        {"s": "runtime: {setup: [1, x]}"},
        ["6:19 runtime.setup[0]: runtime.setup[0] takes text, not the number 1 (put it in quotes)"],
    ),
    (
        {"s": "runtime: {container: 'a b', engine: lxc}"},
        [
            "6:22 runtime.container: 'a b' is no name: letters, digits, '.', '_', '-', at most 63",
            "6:37 runtime.engine: runtime.engine takes one of docker, podman, not the text 'lxc'",
        ],
    ),
    (
        {"s": "runtime: {image: x}"},
        ["6:11 runtime.image: unknown key 'image' in runtime (known here: setup, python, container, engine)"],
    ),
    (
        {"s": "warmup: {requests_per_engine: 0, prompts: 1}"},
        [
            "6:31 warmup.requests_per_engine: warmup.requests_per_engine takes a number of at least 1, not the number 0",
            "6:34 warmup.prompts: unknown key 'prompts' in warmup (did you mean 'prompt_tokens'?)",
        ],
    ),
    (
        {"s": "weights: x"},
        ["6:10 weights: weights takes keys with values, not the text 'x' (its keys are: path, check)"],
    ),
    (
        {"s": "weights: {path: data/x, check: md5}"},
        [
            "6:17 weights.path: 'data/x' is no absolute path",
            "6:32 weights.check: weights.check takes one of size, sha256, not the text 'md5'",
        ],
    ),
    ({"s": "weights: {path: /data/x, check: sha256}"}, []),
    (
        {"s": "redis: x\nservices: x\nrestart: x"},
        [
            "6:1 redis: unknown key 'redis' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
            "7:1 services: unknown key 'services' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
            "8:1 restart: unknown key 'restart' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)",
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 0}}'},
        ["5:45 roles.serve.tp: roles.serve.tp takes a number of at least 1, not the number 0"],
    ),
    (
        {"roles": "roles: {serve: {nodes: \"n[1-2]\", dp: 2, tp: '8'}}"},
        ["5:45 roles.serve.tp: roles.serve.tp takes a whole number, not the text '8' (remove the quotes)"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 1.5}}'},
        ["5:45 roles.serve.tp: roles.serve.tp takes a whole number, not the number 1.5"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: true}}'},
        ["5:45 roles.serve.tp: roles.serve.tp takes a whole number, not true"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: [1]}}'},
        ["5:45 roles.serve.tp: roles.serve.tp takes a whole number, not a list"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: 0}}'},
        [
            "5:45 roles.serve.ep: roles.serve.ep takes true, false or dp × tp, not the number 0 (true derives the size)"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: x}}'},
        [
            "5:45 roles.serve.ep: roles.serve.ep takes true, false or dp × tp, not the text 'x' (true derives the size)"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: 2.0}}'},
        [
            "5:45 roles.serve.ep: roles.serve.ep takes true, false or dp × tp, not the number 2.0 (true derives the size)"
        ],
    ),
    ({"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: 2}}'}, []),
    ({"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: false}}'}, []),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, grups: 1}}'},
        ["5:41 roles.serve.grups: unknown key 'grups' in roles.serve (did you mean 'groups'?)"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ports: {htp: 1}}}'},
        ["5:49 roles.serve.ports.htp: unknown key 'htp' in roles.serve.ports (did you mean 'http'?)"],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ports: {http: 0}}}'},
        [
            "5:55 roles.serve.ports.http: roles.serve.ports.http takes a number of at least 1, not the number 0"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, master: 5}}'},
        [
            "5:49 roles.serve.master: roles.serve.master takes a name or a range such as n[1-4], not the number 5 (put a number in quotes to make it a name)"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, master: []}}'},
        [
            "5:49 roles.serve.master: roles.serve.master takes a name or a range such as n[1-4], not an empty list"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, master: [5]}}'},
        [
            "5:49 roles.serve.master: roles.serve.master takes a name or a range such as n[1-4], not the number 5 (put a number in quotes to make it a name)"
        ],
    ),
    (
        {"roles": "roles: {serv: {nodes: n1}}"},
        ["5:9 roles.serv: unknown key 'serv' in roles (did you mean 'serve'?)"],
    ),
    (
        {"roles": "roles: {serve: n1}"},
        [
            "5:16 roles.serve: roles.serve takes keys with values, not the text 'n1' (its keys are: nodes, groups, dp, tp, pp, pcp, dcp, ep, master, env, args, ports)"
        ],
    ),
    (
        {"roles": "roles: {serve: {}}"},
        [
            "5:9 roles.serve.nodes: 'nodes' is missing in roles.serve (add it; dplaunch explain roles.serve.nodes says what it takes)"
        ],
    ),
    (
        {"roles": "roles: {serve: {nodes: []}}"},
        [
            "5:24 roles.serve.nodes: roles.serve.nodes takes a name or a range such as n[1-4], not an empty list"
        ],
    ),
    (
        {"roles": "roles: {serve: {nodes: 'n[2-1]'}}"},
        [
            "5:24 roles.serve.nodes: 'n[2-1]' counts backwards, from 2 to 1 (ranges are written n[1-4], n[01-16] or n[1-3,5])"
        ],
    ),
    (
        {"roles": "roles: {serve: {nodes: [n1, 2]}}"},
        [
            "5:24 roles.serve.nodes: roles.serve.nodes takes a name or a range such as n[1-4], not the number 2 (put a number in quotes to make it a name)"
        ],
    ),
    (
        {"roles": "roles: [serve]"},
        ["5:8 roles: roles takes keys with values, not a list (its keys are: prefill, decode, serve)"],
    ),
    (
        {"d": "defaults: {args: {--seed: 1}}"},
        ["6:19 defaults.args.--seed: '--seed' is written with dashes (write seed, without them)"],
    ),
    (
        {"d": "defaults: {args: {'--': 1}}"},
        ["6:19 defaults.args.--: '--' is written with dashes (write the name, without them)"],
    ),
    (
        {"d": "defaults: {args: {a b: 1}}"},
        ["6:19 defaults.args.a b: 'a b' is no flag (write the flag without its dashes: max-model-len)"],
    ),
    (
        {"d": "defaults: {args: {port: 1}}"},
        ["6:19 defaults.args.port: 'port' is computed by dplaunch (say it with ports.http)"],
    ),
    (
        {"d": "defaults: {args: {kv_transfer_config.kv_port: 1}}"},
        [
            "6:19 defaults.args.kv_transfer_config.kv_port: 'kv_transfer_config.kv_port' is computed by dplaunch (say it with kv_transfer)"
        ],
    ),
    (
        {"d": "defaults: {args: {host: 1}}"},
        ["6:19 defaults.args.host: 'host' is computed by dplaunch (say it with address of the node)"],
    ),
    (
        {"d": "defaults: {args: {model: 1}}"},
        [
            "6:19 defaults.args.model: 'model' is computed by dplaunch (say it with model, at the top of the file)"
        ],
    ),
    (
        {"d": "defaults: {args: {tp: 1}}"},
        ["6:19 defaults.args.tp: 'tp' is computed by dplaunch (say it with tp of the role)"],
    ),
    (
        {"d": "defaults: {args: {dp: 1}}"},
        ["6:19 defaults.args.dp: 'dp' is computed by dplaunch (say it with dp of the role)"],
    ),
    (
        {"d": "defaults: {args: {api_key: 1}}"},
        ["6:19 defaults.args.api_key: 'api_key' is computed by dplaunch (say it with api_key)"],
    ),
    (
        {"d": "defaults: {args: {tensor_parallel_size: 1}}"},
        [
            "6:19 defaults.args.tensor_parallel_size: 'tensor_parallel_size' is computed by dplaunch (say it with tp of the role)"
        ],
    ),
    (
        {"d": "defaults: {args: {pipeline-parallel-size: 1}}"},
        [
            "6:19 defaults.args.pipeline-parallel-size: 'pipeline-parallel-size' is computed by dplaunch (say it with pp of the role)"
        ],
    ),
    (
        {
            "d": "defaults: {args: {prefill-context-parallel-size: 1, decode-context-parallel-size: 1, pcp: 1, dcp: 1, pp: 1, ep: 1}}"
        },
        [
            "6:19 defaults.args.prefill-context-parallel-size: 'prefill-context-parallel-size' is computed by dplaunch (say it with pcp of the role)",
            "6:53 defaults.args.decode-context-parallel-size: 'decode-context-parallel-size' is computed by dplaunch (say it with dcp of the role)",
            "6:86 defaults.args.pcp: 'pcp' is computed by dplaunch (say it with pcp of the role)",
            "6:94 defaults.args.dcp: 'dcp' is computed by dplaunch (say it with dcp of the role)",
            "6:102 defaults.args.pp: 'pp' is computed by dplaunch (say it with pp of the role)",
            "6:109 defaults.args.ep: 'ep' is computed by dplaunch (say it with ep of the role)",
        ],
    ),
    (
        {"d": "defaults: {args: {enable-expert-parallel: true, no-enable-expert-parallel: true}}"},
        [
            "6:19 defaults.args.enable-expert-parallel: 'enable-expert-parallel' is computed by dplaunch (say it with ep of the role)",
            "6:49 defaults.args.no-enable-expert-parallel: 'no-enable-expert-parallel' is computed by dplaunch (say it with ep of the role)",
        ],
    ),
    (
        {
            "d": "defaults: {args: {data-parallel-size: 1, data-parallel-rank: 1, data_parallel_hybrid_lb: true, data-parallel-rpc-port: 1}}"
        },
        [
            "6:19 defaults.args.data-parallel-size: 'data-parallel-size' is computed by dplaunch (say it with dp of the role)",
            "6:42 defaults.args.data-parallel-rank: 'data-parallel-rank' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:65 defaults.args.data_parallel_hybrid_lb: 'data_parallel_hybrid_lb' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:96 defaults.args.data-parallel-rpc-port: 'data-parallel-rpc-port' is computed by dplaunch (say it with ports.rpc)",
        ],
    ),
    (
        {"d": "defaults: {args: {headless: true, nnodes: 1, node-rank: 1, master-addr: 1, master-port: 1}}"},
        [
            "6:19 defaults.args.headless: 'headless' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:35 defaults.args.nnodes: 'nnodes' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:46 defaults.args.node-rank: 'node-rank' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:60 defaults.args.master-addr: 'master-addr' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
            "6:76 defaults.args.master-port: 'master-port' is computed by dplaunch (say it with nodes, groups, dp and master of the role)",
        ],
    ),
    (
        {"d": "defaults: {args: {kv-transfer-config: {}, served-model-name: x}}"},
        [
            "6:19 defaults.args.kv-transfer-config: 'kv-transfer-config' is computed by dplaunch (say it with kv_transfer)",
            "6:43 defaults.args.served-model-name: 'served-model-name' is computed by dplaunch (say it with served_model_name)",
        ],
    ),
    (
        {"d": "defaults: {args: {max_model_len: 1, max-model-len: 2}}"},
        [
            "6:37 defaults.args.max-model-len: 'max_model_len' and 'max-model-len' are the same flag (keep one of the two)"
        ],
    ),
    (
        {"d": "defaults: {args: {a_b: 1, a-b: 2, a_b_c: 1}}"},
        ["6:27 defaults.args.a-b: 'a_b' and 'a-b' are the same flag (keep one of the two)"],
    ),
    ({"d": "defaults: {args: {compilation-config.cudagraph_mode: FULL, O3: true}}"}, []),
    (
        {"d": "defaults: {args: {'': 1}}"},
        ["6:19 defaults.args.: '' is no flag (write the flag without its dashes: max-model-len)"],
    ),
    (
        {"d": "defaults: {env: {A-B: 1, 1A: 2, '': 3}}"},
        [
            "6:18 defaults.env.A-B: 'A-B' is no environment variable: letters, digits and '_'",
            "6:26 defaults.env.1A: '1A' is no environment variable: letters, digits and '_'",
            "6:33 defaults.env.: '' is no environment variable: letters, digits and '_'",
        ],
    ),
    (
        {
            "d": "defaults: {env: {A: $HOME, B: '${HOME}', C: $$HOME, D: a$, E: $(x), F: $1, G: '${x', H: '${}', I: '${a-b}', J: '$$$x', K: '$$${X}$', L: '${a}$b'}}"
        },
        [
            "6:21 defaults.env.A: $HOME in defaults.env.A is neither ${NAME} nor plain text (write ${HOME} for the node's value, or $$HOME for these letters)",
            "6:79 defaults.env.G: ${x in defaults.env.G is neither ${NAME} nor plain text (write ${x} for the node's value, or $${x for these letters)",
            "6:89 defaults.env.H: ${} in defaults.env.H is neither ${NAME} nor plain text (write ${NAME} for the node's value, or $${} for these letters)",
            "6:99 defaults.env.I: ${a-b} in defaults.env.I is neither ${NAME} nor plain text (write ${ab} for the node's value, or $${a-b} for these letters)",
            "6:112 defaults.env.J: $x in defaults.env.J is neither ${NAME} nor plain text (write ${x} for the node's value, or $$x for these letters)",
            "6:137 defaults.env.L: $b in defaults.env.L is neither ${NAME} nor plain text (write ${b} for the node's value, or $$b for these letters)",
        ],
    ),
    (
        {
            "d": "defaults: {env: {A: [1], B: {x: 1}, C: {from_env: X}, D: {from_file: f}, E: {from_env: X, from_file: f}, F: {from_env: ''}, G: {}}}"
        },
        [
            "6:21 defaults.env.A: defaults.env.A takes text, or a secret as {from_env: NAME}, not a list (an environment holds only text)",
            "6:29 defaults.env.B: defaults.env.B names no secret (write {from_env: NAME} or {from_file: PATH})",
            "6:77 defaults.env.E: defaults.env.E names no secret (write {from_env: NAME} or {from_file: PATH})",
            "6:109 defaults.env.F: defaults.env.F names no secret (write {from_env: NAME} or {from_file: PATH})",
            "6:128 defaults.env.G: defaults.env.G names no secret (write {from_env: NAME} or {from_file: PATH})",
        ],
    ),
    (
        {"d": "defaults: {roles: 1}"},
        ["6:12 defaults.roles: unknown key 'roles' in defaults (known here: env, args)"],
    ),
    (
        {"k": "kv_transfer: Mooncake"},
        [
            "6:14 kv_transfer: kv_transfer takes keys with values, not the text 'Mooncake' (its keys are: connector, extra, rank_table)"
        ],
    ),
    (
        {"k": "kv_transfer: {}"},
        [
            "6:1 kv_transfer.connector: 'connector' is missing in kv_transfer (add it; dplaunch explain kv_transfer.connector says what it takes)"
        ],
    ),
    (
        {"k": "kv_transfer: {connector: 1, rank_table: ''}"},
        [
            "6:26 kv_transfer.connector: kv_transfer.connector takes text, not the number 1 (put it in quotes)",
            "6:41 kv_transfer.rank_table: kv_transfer.rank_table takes text, not an empty text",
        ],
    ),
    (
        {"p": "ports: {http: 70000}"},
        ["6:15 ports.http: ports.http takes a number of at most 65535, not the number 70000"],
    ),
    (
        {"p": "ports: 9000"},
        ["6:8 ports: ports takes keys with values, not the number 9000 (its keys are: http, rpc, kv)"],
    ),
    (
        {"p": "ports: {rpc: -1}"},
        ["6:14 ports.rpc: ports.rpc takes a number of at least 1, not the number -1"],
    ),
    (
        {"r": "router: none"},
        [
            "6:9 router: router takes keys with values, not the text 'none' (its keys are: node, kind, port, path, workers, policy, args)"
        ],
    ),
    (
        {"r": "router: {kind: non}"},
        [
            "6:16 router.kind: router.kind takes one of dplaunch, vllm-router, vllm-ascend, none, not the text 'non' (did you mean 'none'?)"
        ],
    ),
    (
        {"r": "router: {port: 0}"},
        ["6:16 router.port: router.port takes a number of at least 1, not the number 0"],
    ),
    (
        {"r": "router: {workers: 0}"},
        ["6:19 router.workers: router.workers takes a number of at least 1, not the number 0"],
    ),
    (
        {"r": "router: {policy: rr}"},
        ["6:18 router.policy: router.policy takes one of tokens, round-robin, not the text 'rr'"],
    ),
    (
        {"r": "router: {args: {port: 1, host: x, log_level: debug, --x: 1}}"},
        [
            "6:17 router.args.port: 'port' is computed by dplaunch (say it with port of the router)",
            "6:26 router.args.host: 'host' is computed by dplaunch (say it with node of the router)",
            "6:53 router.args.--x: '--x' is written with dashes (write x, without them)",
        ],
    ),
    (
        {"r": "router: {node: 1}"},
        ["6:16 router.node: router.node takes text, not the number 1 (put it in quotes)"],
    ),
    (
        {"a": "api_key: abc"},
        [
            "6:10 api_key: api_key takes where the secret is found, not the text 'abc' (write {from_env: NAME} or {from_file: PATH})"
        ],
    ),
    (
        {"a": "api_key: {from_env: 5}"},
        ["6:10 api_key: api_key names no secret (write {from_env: NAME} or {from_file: PATH})"],
    ),
    (
        {"a": "api_key: {env: X}"},
        ["6:10 api_key: api_key names no secret (write {from_env: NAME} or {from_file: PATH})"],
    ),
    (
        {"a": "api_key: []"},
        [
            "6:10 api_key: api_key takes where the secret is found, not an empty list (write {from_env: NAME} or {from_file: PATH})"
        ],
    ),
    (
        {"o": "overrides: {serve-0: {evn: {}}}"},
        ["6:23 overrides.serve-0.evn: unknown key 'evn' in overrides.serve-0 (did you mean 'env'?)"],
    ),
    (
        {"o": "overrides: {'serve-[': {}}"},
        [
            "6:13 overrides.serve-[: 'serve-[' has a bracket without its partner (ranges are written n[1-4], n[01-16] or n[1-3,5])"
        ],
    ),
    ({"o": "overrides: [x]"}, ["6:12 overrides: overrides takes keys with values, not a list"]),
    (
        {"o": "overrides: {serve-0: 5}"},
        [
            "6:22 overrides.serve-0: overrides.serve-0 takes keys with values, not the number 5 (its keys are: env, args)"
        ],
    ),
    (
        {"o": "hooks: {before: x}"},
        ["6:9 hooks.before: unknown key 'before' in hooks (did you mean 'before_up'?)"],
    ),
    ({"o": "hooks: {before_up: [x]}"}, ["6:20 hooks.before_up: hooks.before_up takes text, not a list"]),
    (
        {"o": "hooks: x"},
        [
            "6:8 hooks: hooks takes keys with values, not the text 'x' (its keys are: before_up, after_up, after_down)"
        ],
    ),
    (
        {"t": "ready_timeout: 0"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not the number 0 (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: -1"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not the number -1 (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    ({"t": "ready_timeout: 0.5"}, []),
    (
        {"t": "ready_timeout: 1x"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not the text '1x' (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: ''"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not an empty text (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: true"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not true (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: [1]"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not a list (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: 0s"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not the text '0s' (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    (
        {"t": "ready_timeout: 1m1h"},
        [
            "6:16 ready_timeout: ready_timeout takes a duration above zero, not the text '1m1h' (write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s)"
        ],
    ),
    ({"t": "ready_timeout: '90'"}, []),
    (
        {"t": "bogus: 1"},
        [
            "6:1 bogus: unknown key 'bogus' (known here: cluster, engine, model, served_model_name, weights, ssh, hardware, nodes, runtime, defaults, roles, kv_transfer, ports, router, warmup, api_key, overrides, hooks, ready_timeout)"
        ],
    ),
]


@pytest.mark.parametrize(("sections", "problems"), SCHEMA)
def test_a_key_says_what_it_takes(told, small, sections, problems):
    assert told(sections if isinstance(sections, str) else small(**sections)) == problems
