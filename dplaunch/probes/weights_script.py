"""The program that reads a model's folder on a node; it needs nothing but Python 3.8."""

SCRIPT = r'''
import hashlib, json, os, re, struct, sys
from concurrent.futures import ThreadPoolExecutor

MOST = 20      # names of one kind in the report
ROOM = 40000   # characters of the list of files in the report
LARGEST_HEADER = 100000000
LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_sequence_length", "max_seq_length", "seq_len",
)
KEPT = LENGTHS + (
    "model_type", "num_attention_heads", "num_key_value_heads", "num_hidden_layers", "kv_lora_rank",
    "intermediate_size", "moe_intermediate_size", "first_k_dense_replace", "num_nextn_predict_layers",
    "mtp_num_hidden_layers", "rope_scaling", "rope_parameters", "quantization_config",
)


def list_names(path):
    """Return the files that an engine may read: all that are not hidden, links followed."""
    return [n for n in sorted(os.listdir(path)) if n[0] != "." and os.path.isfile(os.path.join(path, n))]


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def count_experts(config):
    """Return the largest number of experts in the configuration; 0 for a dense model."""
    parts = [config] + [value for value in config.values() if isinstance(value, dict)]
    found = [0]
    for part in parts:
        for key, value in part.items():
            if "experts" in key and "per_tok" not in key and "shared" not in key:
                for number in value if isinstance(value, list) else [value]:
                    if type(number) is int:
                        found.append(number)
    return max(found)


def keep(value):
    """Return a value of the configuration without what is nested deeper than one level; None for the rest."""
    if isinstance(value, dict):
        inner = {key: keep_plain(inside) for key, inside in value.items()}
        return {key: inside for key, inside in inner.items() if inside is not None}
    return keep_plain(value)


def keep_plain(value):
    if isinstance(value, list):
        return value if len(value) < 4 and all(isinstance(item, (int, str)) for item in value) else None
    short = isinstance(value, str) and len(value) < 200
    return value if short or isinstance(value, (int, float)) else None


def describe_model(config, path, sizes):
    """Return what decides how engines may split and load the model; of a text model inside it, that one's."""
    whole = dict(config)
    for part in ("text_config", "llm_config", "language_config"):
        whole.update(config[part] if isinstance(config.get(part), dict) else {})
    model = {key: keep(whole[key]) for key in KEPT if keep(whole.get(key)) is not None}
    model["modelslim"] = "quant_model_description.json" in sizes
    model["own_tokenizer"] = False
    if "tokenizer_config.json" in sizes and "tokenizer.json" not in sizes:
        try:
            tokenizer = read(os.path.join(path, "tokenizer_config.json"))
            model["own_tokenizer"] = "AutoTokenizer" in tokenizer.get("auto_map", {})
        except (ValueError, AttributeError, TypeError):
            pass
    return model


def read_size(path):
    """Return the size of a safetensors file by its header; None if it has no valid header."""
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return None
        length = struct.unpack("<Q", start)[0]
        if length > LARGEST_HEADER:
            return None
        try:
            header = json.loads(file.read(length))
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None
    return 8 + length + max(ends or [0])


def find_broken(path, sizes):
    """Return [name, size, right size (0: unknown)] of files that are cut off or not safetensors files."""
    found = []
    for name, size in sizes.items():
        if name.endswith(".safetensors"):
            right = read_size(os.path.join(path, name))
            if right != size:
                found.append([name, size, right or 0])
    return found


def find_wanted(path, sizes):
    """Return the files that an index or the numbers of shards require, and unreadable indices."""
    wanted, bad = set(), []
    for name in sizes:
        if name.endswith(".safetensors.index.json"):
            try:
                wanted.update(read(os.path.join(path, name))["weight_map"].values())
            except (ValueError, KeyError, TypeError, AttributeError):
                bad.append(name)
        shard = re.match(r"(.*-)(\d{5})-of-(\d{5})(\.safetensors)$", name)
        if shard and int(shard.group(3)) < 10000:
            head, _, count, tail = shard.groups()
            wanted.update("%s%05d-of-%s%s" % (head, n, count, tail) for n in range(1, int(count) + 1))
    return sorted(str(name) for name in wanted), bad


def hash_file(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 22), b""):
            found.update(block)
    return found.hexdigest()


def hash_list(files):
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def join(path, name):
    """Return the path of a file; a model that is a single file has an empty name."""
    return os.path.join(path, name) if name else path


def hash_files(path, sizes):
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(sizes, pool.map(lambda name: hash_file(join(path, name)), sizes)))


def look_at(path, way):
    if not os.path.exists(path):
        return {"problem": path + " does not exist"}
    names = list_names(path) if os.path.isdir(path) else [""]
    sizes = {name: os.path.getsize(join(path, name)) for name in names}
    report = {"folder": os.path.isdir(path), "count": len(sizes), "bytes": sum(sizes.values()), "config": ""}
    if report["folder"]:
        try:
            config = read(os.path.join(path, "config.json"))
            report["experts"] = count_experts(config)
            report["model"] = describe_model(config, path, sizes)
        except OSError:
            report["config"] = "missing"
        except (ValueError, AttributeError):
            report["config"] = "unreadable"
        wanted, report["bad_indices"] = find_wanted(path, sizes)
        missing, cut = [name for name in wanted if name not in sizes], find_broken(path, sizes)
        report.update(missing=missing[:MOST], missing_count=len(missing))
        report.update(broken=cut[:MOST], broken_count=len(cut))
    sums = hash_files(path, sizes) if way == "sha256" else {}
    files = [[name, size] + ([sums[name]] if name in sums else []) for name, size in sizes.items()]
    report["way"] = way
    report["listing"] = hash_list([[name, size] for name, size in sizes.items()])
    report["digest"] = hash_list(files)
    report["files"] = listed = []
    room = ROOM
    for file in files:
        file = file[:2] + [text[:16] for text in file[2:]]
        room -= len(json.dumps(file)) + 1
        if room < 0:
            break
        listed.append(file)
    return report


try:
    result = look_at(sys.argv[1], sys.argv[2])
except OSError as error:
    result = {"problem": "%s cannot be read: %s" % (error.filename or sys.argv[1], error.strerror or error)}
print(json.dumps(result, separators=(",", ":")))
'''
"""Arguments: the folder (or file), ``size`` or ``sha256``. Prints one JSON object, the list of files last."""
