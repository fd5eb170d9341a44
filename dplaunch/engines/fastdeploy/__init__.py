"""FastDeploy: data parallelism with one API server per rank, and prefill/decode through its own router."""
