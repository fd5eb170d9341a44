"""Parse command lines of ``vllm serve``, given as JSON on stdin, with vLLM's own parser; it ends on the first bad one."""

import json
import sys

from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
for words in json.load(sys.stdin):
    validate_parsed_serve_args(parser.parse_args(words))
