"""The readers of strangers' bytes, tried with broken ones: `make fuzz`.

targets    one function a reader: bytes in, nothing out, no error but a PipelineError
seeds      small valid inputs to begin from, drawn by the program
run        atheris (libFuzzer, led by the coverage of the code) on one target
"""
