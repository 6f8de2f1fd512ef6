"""An epoch of training as one compiled JAX function: a scan over its steps, with all faces on the device.

The networks and the optimizer are Keras's, called without state. Random numbers follow from seed and epoch alone, so
that a training that goes on from a checkpoint draws what the unbroken one would have drawn.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.model import import_keras
from pretraining.augmentation import NUM_DRAWS, augment
from pretraining.recipe import Recipe
from pretraining.teachers import build_network

Values = list[jax.Array]


class State(NamedTuple):
    """All that changes in training: values of Keras's variables, in its orders.

    averaged_*: running averages of the two before them; empty without `ema`.
    """

    trainable: Values
    non_trainable: Values
    optimizer: Values
    averaged_trainable: Values
    averaged_non_trainable: Values


class Inputs(NamedTuple):
    """What an epoch needs besides its state. pixels: uint8 (n, 48, 48). labels: int32 (n,). rates: float32 (steps,).

    teachers: each one's trainable and non-trainable values.
    """

    pixels: jax.Array
    labels: jax.Array
    rates: jax.Array
    key: jax.Array
    teachers: list[tuple[Values, Values]]


class Batch(NamedTuple):
    """What a step learns from. view: float32 (batch, side, side, 1). target: the labels' shares, float32 (batch, 7).

    soft: the teachers' vote, float32 (batch, 7); None without teachers.
    """

    view: jax.Array
    target: jax.Array
    soft: jax.Array | None


class Losses(NamedTuple):
    """Means of an epoch. accuracy: share of views whose strongest emotion is the label that weighs most in them."""

    loss: jax.Array
    accuracy: jax.Array


@dataclasses.dataclass(frozen=True)
class Network:
    """A Keras network that returns logits, and the side of what it sees."""

    model: Any
    side: int

    def logits(self, trainable: Values, non_trainable: Values, crops: Any, *, training: bool) -> tuple[Any, Values]:
        """float32 (batch, 7), and the non-trainable values after it. crops: float32 (batch, >= side, >= side, 1)."""
        margin = (crops.shape[1] - self.side) // 2
        middle = crops[:, margin : margin + self.side, margin : margin + self.side]
        logits, non_trainable = self.model.stateless_call(trainable, non_trainable, middle, training=training)
        return logits.astype(jnp.float32), non_trainable


def make_network(recipe: Recipe, *, precision: str | None = None) -> Network:
    model = build_network(recipe.network, side=recipe.side, precision=precision or recipe.precision)
    return Network(model, recipe.side)


def make_optimizer(recipe: Recipe, model: Any) -> Any:
    """As fer_tasks.training's; its rate is set from outside before every step."""
    optimizer = import_keras().optimizers.SGD(
        recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay / (1 - recipe.momentum),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    return optimizer


def first_state(recipe: Recipe, network: Network, optimizer: Any) -> State:
    """State of the variables as they are now, copied, since an epoch takes over the memory of its state."""
    trainable = [jnp.copy(variable.value) for variable in network.model.trainable_variables]
    non_trainable = [jnp.copy(variable.value) for variable in network.model.non_trainable_variables]
    averaged = jax.tree.map(jnp.copy, (trainable, non_trainable)) if recipe.ema else ([], [])
    return State(trainable, non_trainable, [jnp.copy(variable.value) for variable in optimizer.variables], *averaged)


def build_epoch(
    recipe: Recipe, network: Network, optimizer: Any, teachers: Sequence[Network]
) -> Callable[[State, Inputs], tuple[State, Losses]]:
    """(state, inputs) -> (state, losses), compiled at its first call. The state that is given is used up."""
    rate_place = next(i for i, variable in enumerate(optimizer.variables) if variable is optimizer.learning_rate)

    def step(state: State, drawn: tuple[Any, ...], inputs: Inputs) -> tuple[State, Losses]:
        chosen, key, share, rate = drawn
        view, target = _view(recipe, inputs, chosen, key, share, max(n.side for n in (network, *teachers)))
        batch = Batch(view, target, _soft_vote(recipe, teachers, inputs.teachers, view))
        (loss, (logits, non_trainable)), gradients = jax.value_and_grad(_loss, has_aux=True)(
            state.trainable, state.non_trainable, recipe, network, batch
        )
        before = [*state.optimizer[:rate_place], rate, *state.optimizer[rate_place + 1 :]]
        trainable, after = optimizer.stateless_apply(before, gradients, state.trainable)
        right = jnp.mean(logits.argmax(axis=1) == target.argmax(axis=1))
        averaged = _averaged(recipe, state, trainable, non_trainable)
        return State(list(trainable), list(non_trainable), list(after), *averaged), Losses(loss, right)

    def epoch(state: State, inputs: Inputs) -> tuple[State, Losses]:
        # XLA computes convolutions in a loop on one core of a CPU, and slowly; there, epochs are tries of a few steps.
        unroll = jax.default_backend() == "cpu"
        state, losses = jax.lax.scan(
            lambda carry, drawn: step(carry, drawn, inputs), state, _draw_epoch(recipe, inputs), unroll=unroll
        )
        return state, Losses(*(values.mean() for values in losses))

    compiled: Callable[[State, Inputs], tuple[State, Losses]] = jax.jit(epoch, donate_argnums=0)
    return compiled


def _draw_epoch(recipe: Recipe, inputs: Inputs) -> tuple[jax.Array, ...]:
    """For each step: places of its faces, int32 (batch,); a key; how far each face is mixed, (batch,); its rate."""
    order_key, step_key, mixup_key = jax.random.split(inputs.key, 3)
    steps, batch = len(inputs.rates), recipe.batch_size
    order = jax.random.permutation(order_key, len(inputs.labels))[: steps * batch].reshape(steps, batch)
    shares = jnp.ones((steps, batch))
    if recipe.mixup:
        shares = jax.random.beta(mixup_key, recipe.mixup, recipe.mixup, (steps, batch))
    return order, jax.random.split(step_key, steps), shares, inputs.rates


def _view(
    recipe: Recipe, inputs: Inputs, chosen: jax.Array, key: jax.Array, share: jax.Array, side: int
) -> tuple[jax.Array, jax.Array]:
    """The chosen faces, changed and mixed, float32 (batch, side, side, 1), and their labels, float32 (batch, 7)."""
    pixels = inputs.pixels[chosen].astype(jnp.float32)[..., None] / 255
    draws = jax.random.uniform(key, (len(chosen), NUM_DRAWS))
    view = augment(pixels, draws, recipe.limits, side=side)
    target = jax.nn.one_hot(inputs.labels[chosen], NUM_EMOTIONS)
    if recipe.mixup:  # with the batch backwards, which is as random as the batch
        target = share[:, None] * target + (1 - share[:, None]) * target[::-1]
        view = share[:, None, None, None] * view + (1 - share[:, None, None, None]) * view[::-1]
    return view, target


def _soft_vote(
    recipe: Recipe, teachers: Sequence[Network], values: list[tuple[Values, Values]], view: jax.Array
) -> jax.Array | None:
    """Mean of the teachers' probabilities of the very view that the network sees, float32 (batch, 7).

    Beyer et al. 2022, https://arxiv.org/abs/2106.05237: teachers that judge another view teach worse.
    """
    if not teachers:
        return None
    said = [
        jax.nn.softmax(teacher.logits(*own, view, training=False)[0] / recipe.distillation_temperature)
        for teacher, own in zip(teachers, values, strict=True)
    ]
    return jnp.mean(jnp.stack(said), axis=0)


def _loss(
    trainable: Values, non_trainable: Values, recipe: Recipe, network: Network, batch: Batch
) -> tuple[Any, tuple[Any, Values]]:
    """Cross-entropy to the smoothed labels; with teachers, weight * t^2 * that to theirs + (1 - weight) * that.

    t^2 keeps the gradients' size (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).
    """
    logits, non_trainable = network.logits(trainable, non_trainable, batch.view, training=True)
    smoothed = batch.target * (1 - recipe.label_smoothing) + recipe.label_smoothing / NUM_EMOTIONS
    loss = -jnp.mean(jnp.sum(smoothed * jax.nn.log_softmax(logits), axis=1))
    if batch.soft is not None:
        weight, temperature = recipe.distillation_weight, recipe.distillation_temperature
        taught = -jnp.mean(jnp.sum(batch.soft * jax.nn.log_softmax(logits / temperature), axis=1)) * temperature**2
        loss = weight * taught + (1 - weight) * loss
    return loss, (logits, non_trainable)


def _averaged(recipe: Recipe, state: State, trainable: Values, non_trainable: Values) -> tuple[Values, Values]:
    """The averages one step on. Whole numbers (the state of dropout) are copied."""

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        return old + (1 - recipe.ema) * (new - old) if jnp.issubdtype(new.dtype, jnp.floating) else new

    if not recipe.ema:
        return [], []
    moved = (
        [move(old, new) for old, new in zip(averaged, values, strict=True)]
        for averaged, values in (
            (state.averaged_trainable, trainable),
            (state.averaged_non_trainable, non_trainable),
        )
    )
    first, second = moved
    return first, second
