"""``import`` as a command: the file that it writes, its words, its exit codes."""

SCRIPT = """export HCCL_BUFFSIZE=512
vllm serve /data/Qwen3-30B-A3B --served-model-name qwen3 --tensor-parallel-size 8 --port 9000
"""


def test_it_writes_a_cluster_file_that_can_be_planned(cli):
    cli.write("start.sh", SCRIPT)
    result = cli("import", "192.0.2.[1-2]=start.sh")
    assert "wrote cluster.yaml: 2 processes compared" in result.stdout
    assert "2 engines" in cli("validate", "cluster.yaml").stdout


def test_what_is_left_out_is_printed_and_makes_the_exit_code_1(cli):
    cli.write("start.sh", f"ulimit -n 9999\n{SCRIPT}")
    result = cli("import", "192.0.2.1=start.sh", "-O", "mine.yaml", code=1)
    assert "start.sh line 1: `ulimit -n 9999` was not carried over" in result.stdout
    assert "= help: runtime.setup" in result.stdout
    assert (cli.folder / "mine.yaml").exists()


def test_each_difference_is_printed_on_request(cli):
    cli.write("start.sh", SCRIPT)
    assert "serve-[0-1]" in cli("import", "192.0.2.[1-2]=start.sh", "-v").stdout


def test_the_json_document_names_every_difference(cli):
    cli.write("start.sh", SCRIPT)
    found = cli.json("import", "192.0.2.1=start.sh", "--engine-version", "0.23.0")
    assert (found["file"], found["complete"], found["engines"], found["left"]) == (
        "cluster.yaml",
        True,
        1,
        [],
    )
    assert {"engines", "what", "theirs", "ours", "why"} == set(found["differences"][0])


def test_a_file_that_is_there_is_kept(cli):
    cli.write("start.sh", SCRIPT)
    cli.write("cluster.yaml", "mine")
    assert "already exists" in cli("import", "192.0.2.1=start.sh", code=2).stderr
    assert (cli.folder / "cluster.yaml").read_text() == "mine"
    cli("import", "192.0.2.1=start.sh", "--force")


def test_a_placeholder_of_a_document_is_an_error_of_the_file_that_is_written(cli):
    cli.write("start.sh", "export HCCL_BUFFSIZE=1\nvllm serve model_path")
    result = cli("import", "192.0.2.1=start.sh", code=1)
    assert "model_path" in result.stdout
    assert "wrote cluster.yaml, which has 1 error to mend" in result.stdout


def test_a_file_that_starts_nothing_is_refused(cli):
    cli.write("start.sh", "echo hello")
    result = cli("import", "192.0.2.1=start.sh", code=2)
    assert "no engine is started" in result.stderr
    assert not (cli.folder / "cluster.yaml").exists()
