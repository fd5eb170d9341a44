"""Any value at any place of any example: it is planned or refused, and never ends in a traceback."""

import copy

import yaml

from dplaunch.errors import DplaunchError
from dplaunch.render import clusters_root
from dplaunch.workspace import Pick, load_cluster

EXAMPLES = sorted(clusters_root().glob("*.yaml"))


def test_any_value_anywhere_in_an_example_is_planned_or_refused(dice, rounds, tmp_path):
    (tmp_path / "script").symlink_to(clusters_root() / "script")
    for _ in range(rounds):
        example = dice.choice(EXAMPLES)
        document = copy.deepcopy(yaml.safe_load(example.read_text()))
        place = dice.spoil(document)
        file = tmp_path / example.name
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        try:
            load_cluster(Pick(file), rehearse=dice.random() < 0.5)
        except DplaunchError:
            continue
        except Exception as error:
            raise AssertionError(f"{example.name} with {'.'.join(map(str, place))} spoilt") from error
