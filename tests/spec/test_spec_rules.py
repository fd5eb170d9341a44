"""Rules across fields: every message and place, and what just holds."""

import pytest

RULES = [
    (
        {
            "nodes": "nodes: [{name: n1, host: 192.0.2.1}, {name: n1, host: 192.0.2.2}, {name: n2, host: 192.0.2.3}]"
        },
        ["4:45 nodes[1].name: a second node is called n1 (give each node its own name)"],
    ),
    (
        {
            "nodes": 'nodes:\n  - {name: "n[1-2]", host: "192.0.2.[1-2]"}\n  - name: "n[2-3]"\n    host: "192.0.2.[3-4]"',
            "router": "router: {node: n3}",
        },
        ["6:11 nodes[1].name: a second node is called n2 (give each node its own name)"],
    ),
    (
        {
            "nodes": "nodes: [{name: n1, host: box}, {name: n2}, {name: n3, host: h, address: 192.0.2.300}]",
            "router": "router: {node: n3}",
        },
        [
            "4:26 nodes[0].host: the address of n1 is 'box', which is no IPv4 address (add address: the IPv4 address of n1 on the network between the nodes)",
            "4:39 nodes[1].name: the address of n2 is 'n2', which is no IPv4 address (add address: the IPv4 address of n2 on the network between the nodes)",
            "4:73 nodes[2].address: the address of n3 is '192.0.2.300', which is no IPv4 address (add address: the IPv4 address of n3 on the network between the nodes)",
        ],
    ),
    (
        {"nodes": "nodes: [{name: n1, host: 192.0.2.255}, {name: n2, host: 192.0.2.256}]"},
        [
            "4:57 nodes[1].host: the address of n2 is '192.0.2.256', which is no IPv4 address (add address: the IPv4 address of n2 on the network between the nodes)"
        ],
    ),
    (
        {"nodes": "nodes: [{name: n1, host: localhost}, {name: n2, host: localhost}]"},
        [
            "4:55 nodes[1].host: n1 and n2 have the same address 127.0.0.1 (give each node its own address; on this machine 127.0.0.1, 127.0.0.2 … will do)"
        ],
    ),
    (
        {
            "nodes": "nodes: [{name: n1, host: localhost, address: 127.0.0.1}, {name: n2, host: localhost, address: 127.0.0.2}]"
        },
        [],
    ),
    (
        {
            "nodes": "nodes: [{name: n1, host: a, address: 192.0.2.1}, {name: n2, host: b, address: 192.0.2.1}]"
        },
        [
            "4:79 nodes[1].address: n1 and n2 have the same address 192.0.2.1 (give each node its own address; on this machine 127.0.0.1, 127.0.0.2 … will do)"
        ],
    ),
    (
        {"roles": "roles: {}"},
        ["5:1 roles: there is no role (add prefill and decode, or serve for one that does both)"],
    ),
    (
        {"roles": "roles: {prefill: {nodes: n1}}"},
        ["5:1 roles: there is prefill but no decode (add decode, or call the one role serve)"],
    ),
    (
        {"roles": "roles: {decode: {nodes: n1}}"},
        ["5:1 roles: there is decode but no prefill (add prefill, or call the one role serve)"],
    ),
    (
        {"roles": "roles: {serve: {nodes: n1}, decode: {nodes: n2}}"},
        ["5:9 roles.serve: serve does all the work and cannot stand beside decode (remove one)"],
    ),
    (
        {"roles": "roles: {serve: {nodes: n1}, decode: {nodes: n2}, prefill: {nodes: n2}}"},
        ["5:9 roles.serve: serve does all the work and cannot stand beside prefill and decode (remove one)"],
    ),
    ({"roles": "roles:\n  prefill: {nodes: n1}\n  decode: {nodes: n2}"}, []),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-3]"}}'},
        ["5:24 roles.serve.nodes: serve names n3, which is no node (nodes are: n[1-2])"],
    ),
    (
        {"roles": "roles: {serve: {nodes: [n1, n2, box, n1]}}"},
        [
            "5:24 roles.serve.nodes: serve names n1 twice (name each node once)",
            "5:24 roles.serve.nodes: serve names box, which is no node (nodes are: n[1-2])",
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 3}}',
        },
        [
            "5:42 roles.serve.groups: 3 groups of serve cannot be dealt evenly to 4 nodes (make groups a divisor or a multiple of 4)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 6}}',
        },
        [
            "5:42 roles.serve.groups: 6 groups of serve cannot be dealt evenly to 4 nodes (make groups a divisor or a multiple of 4)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 8}}',
        },
        [],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 2}}',
        },
        [],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 3}}',
        },
        [
            "5:49 roles.serve.dp: dp 3 of serve does not divide over the 2 nodes of a group (make dp a multiple of 2, or change groups)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", dp: 6}}',
        },
        [
            "5:38 roles.serve.dp: dp 6 of serve does not divide over the 4 nodes of a group (make dp a multiple of 4, or change groups)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]"}}',
        },
        [
            "5:9 roles.serve.dp: dp 1 of serve does not divide over the 4 nodes of a group (make dp a multiple of 4, or change groups)"
        ],
    ),
    (
        {"roles": "roles: {serve: {nodes: n1, dp: 2, tp: 3, ep: 6}}"},
        ["4:38 nodes[1]: warning: nothing runs on n2 (give it to a role, or remove it)"],
    ),
    (
        {"roles": "roles: {serve: {nodes: n1, dp: 2, tp: 3, ep: 5}}"},
        [
            "4:38 nodes[1]: warning: nothing runs on n2 (give it to a role, or remove it)",
            "5:46 roles.serve.ep: ep 5 of serve is not dp × tp = 2 × 3 = 6 (write ep: 6, or ep: true to derive it)",
        ],
    ),
    (
        {"roles": "roles: {serve: {nodes: n1, ep: 1}}"},
        ["4:38 nodes[1]: warning: nothing runs on n2 (give it to a role, or remove it)"],
    ),
    ({"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, ep: true}}'}, []),
    ({"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 4, dcp: 2}}'}, []),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 4, dcp: 3}}'},
        [
            "5:53 roles.serve.dcp: dcp 3 of serve does not divide tp 4, whose devices it reuses (make dcp a divisor of tp)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 2, master: n1}}',
        },
        [
            "5:60 roles.serve.master: serve has 2 groups and 1 master (name one master per group, in order, or none for each group's first node)"
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 2, master: [n2, 192.0.2.4]}}',
        },
        [],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 2, master: [n1, n2]}}',
        },
        ["5:60 roles.serve.master: master n2 is not a node of serve's group 1 (name one of: n[3-4])"],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", groups: 2, dp: 2, master: [n3, n9]}}',
        },
        [
            "5:60 roles.serve.master: master n3 is not a node of serve's group 0 (name one of: n[1-2])",
            "5:60 roles.serve.master: master n9 is not a node of serve's group 1 (name one of: n[3-4])",
        ],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": 'roles: {serve: {nodes: "n[1-4]", dp: 4, master: "n[1-2]"}}',
        },
        [
            "5:49 roles.serve.master: serve has 1 group and 2 masters (name one master per group, in order, or none for each group's first node)"
        ],
    ),
    (
        {"roles": 'roles: {serve: {nodes: "n[1-2]", groups: 4, master: [n1, n1, n2, n1]}}'},
        ["5:53 roles.serve.master: master n1 is not a node of serve's group 3 (name one of: n2)"],
    ),
    ({"roles": 'roles: {serve: {nodes: "n[1-2]", groups: 4, master: [n1, n1, n2, n2]}}'}, []),
    (
        {"engine": "engine: {kind: vllm}", "h": "hardware: cpu"},
        [
            '2:1 engine.version: engine.version is missing: vllm is rendered by its version (add version, in quotes: version: "0.23.0")'
        ],
    ),
    (
        {"engine": "engine: {kind: script}"},
        ["2:1 engine.path: engine.path is missing: kind script runs your own (add path: run_dp_template.sh)"],
    ),
    (
        {"engine": "engine: {kind: rehearsal, path: x}"},
        ["2:27 engine.path: engine.path is for kind script, not rehearsal (remove it)"],
    ),
    (
        {"engine": 'engine: {kind: vllm, version: "0.23.0"}'},
        ["1:1 hardware: hardware is missing: vllm needs devices (add hardware: gpu-8, or cpu)"],
    ),
    (
        {"engine": 'engine: {kind: vllm-ascend, version: "0.23.0"}'},
        ["1:1 hardware: hardware is missing: vllm-ascend needs devices (add hardware: atlas-800t-a3)"],
    ),
    (
        {"engine": 'engine: {kind: vllm-ascend, version: "0.23.0"}', "h": "hardware: cpu"},
        ["6:11 hardware: vllm-ascend needs devices, and n[1-2] has none (add devices to hardware or node)"],
    ),
    ({"engine": 'engine: {kind: vllm, version: "0.23.0"}', "h": "hardware: cpu"}, []),
    (
        {
            "engine": 'engine: {kind: vllm-ascend, version: "0.23.0"}',
            "h": "hardware: {devices: 1}",
            "nodes": "nodes: [{name: n1, host: 192.0.2.1, devices: 0}, {name: n2, host: 192.0.2.2}]",
        },
        ["6:11 hardware: vllm-ascend needs devices, and n1 has none (add devices to hardware or node)"],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 8}}',
        },
        [],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 9}}',
        },
        [
            "5:38 roles.serve.dp: n[1-2]: 1 rank of serve × 9 need 9 devices, and a node has 8 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 7}}',
        },
        [
            "5:38 roles.serve.dp: warning: n[1-2]: 1 of 8 devices stay unused (1 rank of serve × 7 need 7: raise dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 4, tp: 2, pp: 2, pcp: 2}}',
        },
        [
            "5:38 roles.serve.dp: n[1-2]: 2 ranks of serve × 8 need 16 devices, and a node has 8 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": 'roles: {serve: {nodes: "n[1-2]", groups: 4, tp: 3, dcp: 3}}',
        },
        [
            "5:9 roles.serve.dp: warning: n[1-2]: 2 of 8 devices stay unused (2 ranks of serve × 3 need 6: raise dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "nodes": "nodes: [{name: n1, host: 192.0.2.1}, {name: n2, host: 192.0.2.2, devices: 4}]",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2, tp: 8}}',
        },
        [
            "5:38 roles.serve.dp: n2: 1 rank of serve × 8 need 8 devices, and a node has 4 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 4}\n  decode: {nodes: n1, dp: 5}",
            "k": "kv_transfer: {connector: NixlConnector}",
            "nodes": "nodes: [{name: n1, host: 192.0.2.1}]",
        },
        [
            "7:19 roles.decode.nodes: n1: 1 rank of prefill × 4 + 5 ranks of decode × 1 need 9 devices, and a node has 8 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 4}\n  decode: {nodes: n1, dp: 4}",
            "k": "kv_transfer: {connector: NixlConnector}",
            "nodes": "nodes: [{name: n1, host: 192.0.2.1}]",
        },
        [],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 4}\n  decode: {nodes: n1, dp: 3}",
            "k": "kv_transfer: {connector: NixlConnector}",
            "nodes": "nodes: [{name: n1, host: 192.0.2.1}]",
        },
        [
            "7:19 roles.decode.nodes: warning: n1: 1 of 8 devices stay unused (1 rank of prefill × 4 + 3 ranks of decode × 1 need 7: raise dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 9}\n  decode: {nodes: n2, dp: 7}",
            "k": "kv_transfer: {connector: NixlConnector}",
        },
        [
            "6:3 roles.prefill.dp: n1: 1 rank of prefill × 9 need 9 devices, and a node has 8 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: {devices: 1}",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2}}',
        },
        [],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: {devices: 1}",
            "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 4}}',
        },
        [
            "5:38 roles.serve.dp: n[1-2]: 2 ranks of serve × 1 need 2 devices, and a node has 1 (use more nodes, lower dp or tp, or correct hardware)"
        ],
    ),
    ({"roles": "roles: {serve: {nodes: n2}}"}, []),
    (
        {"roles": "roles: {serve: {nodes: n1}}"},
        ["4:38 nodes[1]: warning: nothing runs on n2 (give it to a role, or remove it)"],
    ),
    (
        {"roles": "roles: {serve: {nodes: n2}}", "r": "router: {kind: none}"},
        ["4:9 nodes[0]: warning: nothing runs on n1 (give it to a role, or remove it)"],
    ),
    (
        {
            "nodes": 'nodes: [{name: "n[1-4]", host: "192.0.2.[1-4]"}]',
            "roles": "roles: {serve: {nodes: n1}}",
            "r": "router: {node: n3}",
        },
        ["4:9 nodes[0]: warning: nothing runs on n[2,4] (give it to a role, or remove it)"],
    ),
    (
        {
            "engine": 'engine: {kind: vllm, version: "0.23.0"}',
            "hardware": "hardware: gpu-8",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
        },
        [
            "1:1 kv_transfer: kv_transfer is missing: prefill hands its KV cache to decode (add kv_transfer: {connector: NixlConnector})"
        ],
    ),
    (
        {
            "engine": 'engine: {kind: vllm-ascend, version: "0.23.0"}',
            "h": "hardware: {devices: 1}",
            "roles": "roles:\n  prefill: {nodes: n1}\n  decode: {nodes: n2}",
        },
        [
            "1:1 kv_transfer: kv_transfer is missing: prefill hands its KV cache to decode (add kv_transfer: {connector: MooncakeConnectorV1})"
        ],
    ),
    (
        {"k": "kv_transfer: {connector: x}"},
        ["6:1 kv_transfer: kv_transfer needs prefill and decode, and there is only serve (remove it)"],
    ),
    (
        {
            "roles": "roles:\n  prefill: {nodes: n1}\n  decode: {nodes: n2}",
            "k": "kv_transfer: {connector: x}",
        },
        [],
    ),
    (
        {"p": "ports: {http: 13395}"},
        ["6:15 ports.http: http and rpc of serve both begin at port 13395 (move one of the two)"],
    ),
    (
        {"p": "ports: {rpc: 9000}"},
        ["6:14 ports.rpc: http and rpc of serve both begin at port 9000 (move one of the two)"],
    ),
    (
        {"p": "ports: {http: 5, rpc: 5, kv: 5}"},
        [
            "6:23 ports.rpc: http and rpc of serve both begin at port 5 (move one of the two)",
            "6:30 ports.kv: http and kv of serve both begin at port 5 (move one of the two)",
            "6:30 ports.kv: rpc and kv of serve both begin at port 5 (move one of the two)",
        ],
    ),
    (
        {"roles": "roles:\n  prefill: {nodes: n1, ports: {kv: 9000}}\n  decode: {nodes: n2}"},
        ["6:36 roles.prefill.ports.kv: http and kv of prefill both begin at port 9000 (move one of the two)"],
    ),
    (
        {"p": "ports: {rpc: 13395, kv: 13395}"},
        ["6:25 ports.kv: rpc and kv of serve both begin at port 13395 (move one of the two)"],
    ),
    ({"roles": "roles:\n  prefill: {nodes: n1}\n  decode: {nodes: n2}", "p": "ports: {kv: 61000}"}, []),
    (
        {"roles": "roles:\n  prefill: {nodes: n1}\n  decode: {nodes: n2}", "p": "ports: {kv: 60999}"},
        [
            "8:13 ports.kv: warning: kv ports 60999–60999 of prefill lie in the kernel's ephemeral range 32768–60999, where one may be taken already (61000 and above is quiet)"
        ],
    ),
    (
        {
            "roles": "roles:\n  prefill: {nodes: n1, dp: 2, tp: 4}\n  decode: {nodes: n2}",
            "p": "ports: {kv: 32760}",
        },
        [],
    ),
    (
        {
            "roles": "roles:\n  prefill: {nodes: n1, dp: 2, tp: 4}\n  decode: {nodes: n2, ports: {kv: 32767}}",
            "p": "ports: {kv: 32761}",
        },
        [
            "8:13 ports.kv: warning: kv ports 32761–32768 of prefill lie in the kernel's ephemeral range 32768–60999, where one may be taken already (61000 and above is quiet)"
        ],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 28000}",
        },
        [],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 27999}",
        },
        [
            "9:13 ports.kv: warning: kv ports 27999–28006 of prefill lie in Mooncake's random range 20000–27999, where one may be taken already (61000 and above is quiet)"
        ],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 19992}",
        },
        [],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 19993}",
        },
        [
            "9:13 ports.kv: warning: kv ports 19993–20000 of prefill lie in Mooncake's random range 20000–27999, where one may be taken already (61000 and above is quiet)"
        ],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 20000}",
            "k": "kv_transfer: {connector: NixlConnector}",
        },
        [],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 20000}",
            "k": "kv_transfer: {connector: MultiConnector, extra: {connectors: [{kv_connector: NixlConnector}, {kv_connector: MooncakeConnectorV1}]}}",
        },
        [
            "9:13 ports.kv: warning: kv ports 20000–20007 of prefill lie in Mooncake's random range 20000–27999, where one may be taken already (61000 and above is quiet)"
        ],
    ),
    (
        {
            "h": "hardware: {devices: 8}",
            "roles": "roles:\n  prefill: {nodes: n1, tp: 8}\n  decode: {nodes: n2, tp: 8}",
            "p": "ports: {kv: 20000}",
            "k": "kv_transfer: {connector: MultiConnector, extra: {connectors: [{kv_connector: NixlConnector}]}}",
        },
        [],
    ),
    (
        {
            "nodes": "nodes: [{name: node-a, host: 192.0.2.1}, {name: node-b, host: 192.0.2.2}]",
            "roles": "roles: {serve: {nodes: node-aa}}",
            "router": "router: {node: node-bb}",
        },
        [
            "5:24 roles.serve.nodes: serve names node-aa, which is no node (did you mean 'node-a'?)",
            "6:16 router.node: router.node names node-bb, which is no node (did you mean 'node-b'?)",
        ],
    ),
    ({"p": "ports: {kv: 40000}"}, []),
    (
        {"r": "router: {node: n3}"},
        ["6:16 router.node: router.node names n3, which is no node (nodes are: n[1-2])"],
    ),
    (
        {"r": "router: {node: box}"},
        ["6:16 router.node: router.node names box, which is no node (nodes are: n[1-2])"],
    ),
    (
        {"r": "router: {kind: vllm-ascend}"},
        [
            "6:1 router.path: router.path is missing: kind vllm-ascend runs vLLM-Ascend's own proxy script (add path: where the script is on the router's node)"
        ],
    ),
    ({"r": "router: {kind: vllm-ascend, path: p}"}, []),
    (
        {"r": "router: {path: p}"},
        ["6:10 router.path: router.path is for kind vllm-ascend, not dplaunch (remove it)"],
    ),
    (
        {"r": "router: {kind: vllm-router, workers: 2, policy: tokens, path: p}"},
        [
            "6:29 router.workers: router.workers is for kind dplaunch, not vllm-router (remove it)",
            "6:41 router.policy: router.policy is for kind dplaunch, not vllm-router (remove it)",
            "6:57 router.path: router.path is for kind vllm-ascend, not vllm-router (remove it)",
        ],
    ),
    ({"r": "router: {workers: 4, policy: round-robin}"}, []),
    ({"w": "warmup: {prompt_tokens: 92}", "d": "defaults: {args: {max-model-len: 100}}"}, []),
    (
        {"w": "warmup: {prompt_tokens: 93}", "d": "defaults: {args: {max-model-len: 100}}"},
        [
            "6:25 warmup.prompt_tokens: a warm-up request of 101 tokens is longer than serve's max-model-len 100 (make prompt_tokens and output_tokens smaller)"
        ],
    ),
    (
        {"r": "router: {kind: none, node: n9}"},
        ["6:28 router.node: router.node names n9, which is no node (nodes are: n[1-2])"],
    ),
    ({"o": 'overrides: {serve-0: {}, serve-1: {}, "node:n1": {}}'}, []),
    (
        {"o": "overrides: {serve-2: {}}"},
        [
            "6:13 overrides.serve-2: serve-2 is no engine and no node:NAME (known are: serve-[0-1], node:n[1-2])"
        ],
    ),
    (
        {"o": 'overrides: {"serve-[0-2]": {}, "node:n[2-3]": {}}'},
        [
            "6:13 overrides.serve-[0-2]: serve-2 is no engine and no node:NAME (known are: serve-[0-1], node:n[1-2])",
            "6:32 overrides.node:n[2-3]: node:n3 is no engine and no node:NAME (known are: serve-[0-1], node:n[1-2])",
        ],
    ),
    (
        {"o": "overrides: {xyz: {}}"},
        ["6:13 overrides.xyz: xyz is no engine and no node:NAME (known are: serve-[0-1], node:n[1-2])"],
    ),
    (
        {"o": 'overrides: {serve-1: {}, "serve-[0-1]": {}}'},
        ["6:26 overrides.serve-[0-1]: serve-1 is already in serve-1 (keep it in one of the two)"],
    ),
    (
        {"o": 'overrides: {"node:n[1-2]": {}, "node:n2": {}}'},
        ["6:32 overrides.node:n2: node:n2 is already in node:n[1-2] (keep it in one of the two)"],
    ),
    (
        {
            "roles": "roles:\n  prefill: {nodes: n1, groups: 2, dp: 2}\n  decode: {nodes: n2, dp: 3}",
            "o": "overrides: {prefill-3: {}, decode-2: {}, prefill-4: {}, decode-3: {}}",
        },
        [
            "8:42 overrides.prefill-4: prefill-4 is no engine and no node:NAME (known are: prefill-[0-3],decode-[0-2], node:n[1-2])",
            "8:57 overrides.decode-3: decode-3 is no engine and no node:NAME (known are: prefill-[0-3],decode-[0-2], node:n[1-2])",
        ],
    ),
    (
        {"o": "overrides: {n1: {}}"},
        ["6:13 overrides.n1: n1 is no engine and no node:NAME (known are: serve-[0-1], node:n[1-2])"],
    ),
]


@pytest.mark.parametrize(("sections", "problems"), RULES)
def test_a_rule_speaks_where_it_is_broken_and_only_there(told, small, sections, problems):
    assert told(small(**sections)) == problems
