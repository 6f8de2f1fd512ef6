"""How the weights in fer_tasks/pretrained are made: README.md has the commands in their order.

module        | where it runs     | reads -> writes
--------------|-------------------|----------------
export_faces  | beside the run    | a run's faces.parquet -> one .npz of train and validation
train         | GPU, Keras on JAX | the .npz, perhaps teachers' weights -> weights.npz, log.jsonl a network
ensemble      | anywhere          | teachers' weights.npz -> accuracy of their soft vote on validation
load_weights  | beside the run    | weights.npz -> fer_tasks/pretrained, on TensorFlow
evaluate      | beside the run    | fer_tasks/pretrained, the run's test faces -> model_card.json

What runs on the GPU needs numpy, JAX and Keras, and of fer_tasks only the modules that import no more than that.
The test faces are not in the .npz, so that nothing which trains or chooses can read them.
"""
