# unicorn, with as many workers as the others.
worker_processes 2
