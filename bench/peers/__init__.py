"""One file per peer, each with ``run(workload, part, **options)``; ``registry`` lists them."""
