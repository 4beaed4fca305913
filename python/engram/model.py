"""Models."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Literal, Optional, Sequence, Union, overload

import torch

from . import _core
from ._progress import Progress, counter
from .attribution import Attribution, Attributions, LayerReport, Source
from .errors import UsageError
from .neurons import Neuron, Neurons, hf_module, hf_side, hook_name, neurons_of
from .results import (
    Answer,
    Change,
    Config,
    Guess,
    Lens,
    LensStage,
    Measured,
    NeuronCard,
    Prediction,
)

if TYPE_CHECKING:
    from .edits import Delta, ValueEdit

__all__ = ["Model"]

Memory = Union[int, str, None]


def _bytes(memory: Memory) -> Optional[int]:
    if memory is None or isinstance(memory, int):
        return memory
    return _core.parse_size(memory)


@dataclass
class _Live:
    """A Hugging Face module that lends its weights."""

    module: Any
    tokenizer: Any
    config: str
    signature: tuple[Any, ...]
    fast: bool
    folder: Optional[tempfile.TemporaryDirectory[str]] = None
    folder_signature: Optional[tuple[Any, ...]] = None


def _state(module: Any) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for name, tensor in module.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }


def _signature(state: dict[str, torch.Tensor]) -> tuple[Any, ...]:
    return tuple(
        (name, tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for name, tensor in state.items()
    )


class Model:
    """A pretrained language model, masked or causal.

    ``name`` is a Hugging Face folder, or a name on the hub that is in the local cache
    (``"google-bert/bert-base-cased"``, with ``@REVISION`` too); nothing is downloaded. Float32
    weights stay in the file's memory map; float16 and bfloat16 are converted. ``device``: ``"cpu"``,
    ``"cuda"`` or ``"auto"``.

    Raises FileError, InputError (a tensor that is missing or of a wrong shape, NaN, a model that is
    not supported).

    Objects are used by one thread at a time. Calls work without the interpreter's lock, with one
    thread per core unless ``threads`` says otherwise, and leave torch's number of threads alone.
    Ctrl-C stops them and raises Interrupted.
    """

    def __init__(self, name: Union[str, os.PathLike[str]], *, device: str = "cpu") -> None:
        text = os.fspath(name)
        folder = _core.find_checkpoint(text)
        self._begin(text, Path(folder), device, _core.Model.load(folder, device), None)

    def _begin(
        self, name: str, path: Optional[Path], device: str, core: Any, live: Optional[_Live]
    ) -> None:
        self.name = name
        """As it was asked for; of a module its class."""
        self.path = path
        """Folder of the checkpoint; None for a module that was in memory."""
        self.device = device
        self._core: _core.Model = core
        self._live = live
        self._fingerprint: Optional[str] = None
        self._changes: list[tuple[int, int, float, float]] = []
        self._applied: list[tuple[list[Neuron], dict[int, torch.Tensor]]] = []
        self._named: Optional[torch.Tensor] = None
        self.config = Config(**core.config())
        """Sizes and family."""

    @classmethod
    def from_transformers(cls, model: Any, tokenizer: Any, *, fast: bool = False) -> Model:
        """A model over the weights of a live Hugging Face module, and its tokenizer.

        Weights that are float32, contiguous and on the CPU are not copied: what is changed in the
        module, in place or by another tensor, is seen here at the next call, and
        :meth:`apply` and :meth:`undo` write into the module. What had to be copied, such as a
        transposed or half-precision weight, is listed in :attr:`copied`; it is made anew when the
        module's tensor changes (by its version counter; writes through ``.data`` of copied weights
        are not seen). A module on a GPU is copied to the CPU.

        ``fast``: keep a transposed copy beside every matrix where products are faster with one, as a
        model from a folder does: twice the memory, and its speed. Then
        writes through ``.data`` are seen for no weight.

        Raises InputError for a module that is not supported, and for a tokenizer that does not
        fit it.
        """
        state = _state(model)
        config = model.config.to_json_string(use_diff=False)
        with tempfile.TemporaryDirectory(prefix="engram-") as folder:
            tokenizer.save_pretrained(folder)
            (Path(folder) / "config.json").write_text(config, encoding="utf-8")
            core = _core.Model.from_memory(config, _detached(state), folder, fast)
        made = cls.__new__(cls)
        live = _Live(model, tokenizer, config, _signature(state), fast)
        made._begin(type(model).__name__, None, "cpu", core, live)
        return made

    # -- what it is ---------------------------------------------------------------------------

    def __repr__(self) -> str:
        c = self.config
        return f"<engram.Model {self.name}: {c.family}, {c.layers} layers of {c.d_ff:,} neurons>"

    @property
    def fingerprint(self) -> str:
        """``"sha256:..."`` over the files of the checkpoint, as runs and edits name their model.

        Of a live module that of its folder, see :meth:`folder`.
        """
        if self._live is not None:
            return _core.fingerprint(str(self.folder()))
        if self._fingerprint is None:
            self._fingerprint = _core.fingerprint(str(self.path))
        return self._fingerprint

    @property
    def load_report(self) -> dict[str, Any]:
        """What loading found: ``unexpected`` and ``missing`` tensors, ``parameters``,
        ``mapped_bytes``, ``copied_bytes``."""
        return self._core.report()

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights in use by the names of the checkpoint, sharing memory: do not write to them.

        Matrices are [out, in]. A part of a fused matrix has the fused one's name and ``#`` with a
        number behind it.
        """
        self._refresh()
        found: dict[str, torch.Tensor] = {}
        for names, tensor, _ in self._core.weights():
            name = names[0]
            count = 1
            while name in found:
                count += 1
                name = f"{names[0]}#{count}"
            found[name] = tensor
        return found

    @property
    def copied(self) -> dict[str, str]:
        """Of a live module: the weights that are copies, with the reason. Empty where everything is
        shared. Of a checkpoint: empty."""
        if self._live is None:
            return {}
        self._refresh()
        state = _state(self._live.module)
        out: dict[str, str] = {}
        for names, tensor, layout in self._core.weights():
            for name in names:
                source = state.get(name)
                if source is None or source.data_ptr() == tensor.data_ptr():
                    continue
                if source.device.type != "cpu":
                    out[name] = f"on {source.device}"
                elif source.dtype != torch.float32:
                    out[name] = f"stored as {source.dtype}"
                else:
                    out[name] = layout or "not contiguous"
        return out

    def folder(self) -> Path:
        """A folder of this model: its own, or of a live module a temporary one.

        Calls that do what a whole command does (reproduce, audit, texts, memories, making edits)
        read a folder. A live module is written to a temporary one for them, with
        ``save_pretrained``, again whenever its weights have changed. Raises UsageError for a
        checkpoint with edits in memory, which its folder does not have.
        """
        if self._changes:
            raise UsageError("this call reads the model's folder: not inside intervene()")
        if self._live is None:
            if self._applied:
                raise UsageError(
                    "this call reads the model's folder, which does not have the edits applied in "
                    "memory: undo() them, or make an edited folder with engram.edits.apply()"
                )
            assert self.path is not None
            return self.path
        live = self._live
        signature = _signature(_state(live.module))
        if live.folder is None or live.folder_signature != signature:
            live.folder = tempfile.TemporaryDirectory(prefix="engram-")
            live.module.save_pretrained(live.folder.name)
            live.tokenizer.save_pretrained(live.folder.name)
            live.folder_signature = signature
        return Path(live.folder.name)

    def _refresh(self) -> None:
        """Takes what has changed in a live module."""
        live = self._live
        if live is None:
            return
        state = _state(live.module)
        signature = _signature(state)
        if signature != live.signature:
            self._core.reload(live.config, _detached(state), live.fast)
            live.signature = signature

    def _plain(self, call: str) -> None:
        self._refresh()
        if self._changes:
            raise UsageError(f"{call}() takes the model as it is: not inside intervene()")

    # -- attribution --------------------------------------------------------------------------

    @overload
    def attribute(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self,
        prompt: str,
        answer: Optional[str] = ...,
        *,
        predicted: bool = ...,
        at: Literal["answer", "subject"] = ...,
        subject: Optional[str] = ...,
        score: str = ...,
        rule: str = ...,
        steps: Optional[int] = ...,
        interpolate: bool = ...,
        max_steps: int = ...,
        tolerance: float = ...,
        target: str = ...,
        threads: int = ...,
        memory: Memory = ...,
        progress: Progress = ...,
    ) -> Attribution: ...
    @overload
    def attribute(
        self,
        prompt: Sequence[str],
        answer: Union[str, Sequence[str], None] = ...,
        *,
        predicted: bool = ...,
        at: Literal["answer", "subject"] = ...,
        subject: Union[str, Sequence[str], None] = ...,
        score: str = ...,
        rule: str = ...,
        steps: Optional[int] = ...,
        interpolate: bool = ...,
        max_steps: int = ...,
        tolerance: float = ...,
        target: str = ...,
        threads: int = ...,
        memory: Memory = ...,
        progress: Progress = ...,
    ) -> Attributions: ...
    def attribute(
        self,
        prompt: Union[str, Sequence[str]],
        answer: Union[str, Sequence[str], None] = None,
        *,
        predicted: bool = False,
        at: Literal["answer", "subject"] = "answer",
        subject: Union[str, Sequence[str], None] = None,
        score: str = "ig",
        rule: str = "control-variate",
        steps: Optional[int] = None,
        interpolate: bool = False,
        max_steps: int = 64,
        tolerance: float = 0.01,
        target: str = "prob",
        threads: int = 0,
        memory: Memory = None,
        progress: Progress = False,
    ) -> Union[Attribution, Attributions]:
        """Which neurons an answer comes from: a score for every neuron.

        By default knowledge attribution (Dai et al. 2022, section 3.2): a neuron's activation
        times the integral of F's gradient while the layer's activations grow from 0 to what they
        are, F the answer's probability. A layer's scores sum to F(a) - F(0).

        Args:
            prompt: A text with one ``[MASK]``; of a causal model one that the answer continues. A
                list of prompts goes through the model together.
            answer: The answer as it stands in the sentence; of a list one for each, or one for all.
            predicted: Attribute the model's own top answer instead.
            at: Neurons where the answer is asked, or at the ``subject``'s last token.
            subject: With ``at="subject"``: its words as the prompt has them.
            score: ``"ig"`` or another one of :func:`engram.scores`.
            rule: Quadrature of ``"ig"``: ``control-variate``, ``gauss-legendre``, ``gauss-radau``,
                ``gauss-lobatto``, ``riemann-left``, ``riemann-right``, ``trapezoid``, ``linspace``.
            steps: Exactly so many nodes a layer. Default: as many as ``tolerance`` needs, 20 for
                rules that do not adapt.
            interpolate: Of rules that do not adapt: take the sum from few nodes.
            max_steps: At most so many nodes of a layer where rules adapt.
            tolerance: Relative error that is close enough.
            target: F: ``"prob"``, ``"logprob"`` or ``"logit-diff:WORD"``.
            threads: Workers; 0: one per core. Results do not depend on it.
            memory: Budget for buffers, bytes or ``"512M"``. Default: 256 MiB for each worker.
            progress: True: a line on stderr; or a function of (done, total).

        Returns:
            Attribution with scores [layers, d_ff]; for a list Attributions with
            [prompts, layers, d_ff].

        Raises:
            UsageError: Arguments that do not fit each other.
            InputError: A prompt or answer that the model cannot take.
            Interrupted: Ctrl-C.
        """
        self._plain("attribute")
        one = isinstance(prompt, str)
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        answers = _texts(answer)
        if predicted and answers:
            raise UsageError("answer and predicted: expected one of the two")
        if not predicted and not answers:
            raise UsageError("answer is required, or predicted=True")
        kind, _, contrast = target.partition(":")
        if kind not in ("prob", "logprob", "logit-diff") or (kind == "logit-diff") != bool(contrast):
            raise UsageError(f'target: got "{target}", expected prob, logprob or logit-diff:WORD')
        options: dict[str, Any] = {
            "at": at,
            "score": score,
            "rule": rule,
            "steps": _count("steps", steps, 1, 10_000),
            "interpolate": interpolate,
            "max_steps": _count("max_steps", max_steps, 1, 10_000),
            "tolerance": _share("tolerance", tolerance),
            "target": kind,
            "contrast": contrast,
        }
        how = dict(options, threads=_count("threads", threads, 0, 4096), memory_bytes=_bytes(memory))
        total = max(len(prompts), len(answers))
        what = "prompts"
        if score == "ablation":
            total, what = total * self.config.layers * self.config.d_ff, "neurons"
        found = _core.attribute(
            self._core, prompts, answers, _texts(subject), how, counter(progress, total, what)
        )
        source = Source(
            self.name,
            "" if self.path is None else str(self.path),
            self.config.family,
            found["method"],
            dict(options, target=target),
        )
        each = [
            Attribution(
                scores=found["scores"][i],
                activations=found["activations"][i],
                prompt=known["prompt"],
                answer=known["answer"],
                p=known["p"],
                f=known["f"],
                rank=known["rank"],
                layers=[LayerReport(*layer) for layer in known["layers"]],
                source=source,
                _one=known,
            )
            for i, known in enumerate(found["each"])
        ]
        if one and len(each) == 1:
            return each[0]
        return Attributions(found["scores"], found["activations"], each)

    # -- answers ------------------------------------------------------------------------------

    def predict(
        self, text: str, *, top: int = 10, answer: Optional[str] = None, tokens: int = 0
    ) -> Prediction:
        """What the model answers: at the one ``[MASK]``, or the next token of a causal model.

        Probabilities are the softmax over the whole vocabulary. Inside :meth:`intervene` the
        neurons are changed where the answer is asked.

        Args:
            text: The prompt.
            top: So many answers, the likeliest first.
            answer: P of this answer, too.
            tokens: A causal model goes on for so many tokens.

        Raises:
            InputError: A prompt or answer that the model cannot take.
            UsageError: ``tokens`` of a masked model.
        """
        self._refresh()
        if tokens > 0 and not self.config.causal:
            raise UsageError(
                f"tokens goes on from a text, which a masked model ({self.config.family}) cannot; "
                "expected a causal one"
            )
        _count("top", top, 1, 1_000_000)
        prompt = self._core.encode(text, "", "text")
        asked = self._core.encode(text, answer, "answer") if answer is not None else None
        found = self._answer(asked, answer) if asked is not None and answer is not None else None
        guesses = self._guesses(prompt, top)
        goes_on: Optional[str] = None
        if tokens > 0:
            ids = list(prompt[0])
            begin = len(ids)
            room = min(tokens, self.config.max_tokens - begin + 1)
            while len(ids) - begin < room:
                best = self._guesses((ids, [len(ids) - 1], [], -1), 1)[0]
                ids.append(best.id)
                if self._core.is_special(best.id):
                    break
            goes_on = self._core.decode(ids[begin:])
        return Prediction(text, guesses, found, goes_on)

    def _guesses(self, prompt: Any, top: int) -> list[Guess]:
        ids, positions, _, at = prompt
        logits = self._core.answer_logits((ids, positions[:1], [], at), self._changes)
        p = logits[0].to(torch.float64).softmax(-1)
        if self._named is None:
            self._named = self._core.named_tokens()
        order = torch.sort(p, descending=True, stable=True).indices
        order = order[self._named[order]][:top]
        return [Guess(self._core.token_of(i), i, p[i].item()) for i in order.tolist()]

    def _answer(self, prompt: Any, text: str) -> Answer:
        log_p = self._core.answer_logits(prompt, self._changes).to(torch.float64).log_softmax(-1)
        tokens: list[tuple[str, int, float, int]] = []
        total = 0.0
        for row, i in zip(log_p, prompt[2]):
            own = row[i].item()
            total += own
            rank = 1 + int((row > own).sum().item())
            tokens.append((self._core.token_of(i), i, row[i].exp().item(), rank))
        mean = torch.tensor(total / len(tokens), dtype=torch.float64).exp().item()
        product = torch.tensor(total, dtype=torch.float64).exp().item()
        return Answer(text, mean, product, max(rank for *_, rank in tokens), tokens)

    def lens(self, text: str, answer: str, *, top: int = 5) -> Lens:
        """After which layer the answer comes up: the logit lens.

        The residual stream behind the embedding, every attention and every FFN through the model's
        own LM head. Of an answer of several tokens the first is followed. ``top``: tokens kept for
        each stage.
        """
        self._plain("lens")
        prompt = self._core.encode(text, answer, "text")
        found = _core.lens(self._core, prompt, top)
        stages = [
            LensStage(**{**stage, "top": [Guess(*token) for token in stage["top"]]})
            for stage in found["stages"]
        ]
        return Lens(text, answer, stages, found["bias_share"])

    # -- interventions ------------------------------------------------------------------------

    @contextlib.contextmanager
    def intervene(
        self,
        neurons: Neurons,
        do: Optional[str] = None,
        *,
        zero: bool = False,
        double: bool = False,
        scale: Optional[float] = None,
        values: Optional[torch.Tensor] = None,
    ) -> Iterator[Model]:
        """Changes neurons for as long as the ``with`` block runs: :meth:`predict` sees it.

        Neurons are changed at the places where the answer is asked, as the command does.

        Args:
            neurons: ``"3:17,5:201"``, pairs, a table such as ``a.top(10)``, or a located fact.
            do: ``"zero"``, ``"double"``, ``"scale:0.5"``, ``"mean"`` or ``"resample"``; or one of
            zero, double: The same as flags.
            scale: The same with the factor.
            values: For ``"mean"`` and ``"resample"``: activations [layers, d_ff] that the neurons
                get, such as ``model.activations(prompts, answers).mean(0)``.

        Raises:
            UsageError: Not exactly one thing to do.
            InputError: A neuron that the model does not have.
        """
        self._refresh()
        outer = self._changes
        if outer:
            raise UsageError("intervene() inside intervene(): give all neurons to one")
        self._changes = self._changes_of(neurons, _what(do, zero, double, scale), values)
        try:
            yield self
        finally:
            self._changes = outer

    def _changes_of(
        self, neurons: Neurons, do: str, values: Optional[torch.Tensor]
    ) -> list[tuple[int, int, float, float]]:
        wanted = neurons_of(neurons)
        self._check(wanted)
        if values is not None:
            expected = (self.config.layers, self.config.d_ff)
            if tuple(values.shape) != expected:
                raise UsageError(f"values: got shape {tuple(values.shape)}, expected {expected}")
            values = values.detach().to("cpu", torch.float32).contiguous()
        return _core.changes(do, wanted, values)

    def _check(self, neurons: Sequence[Neuron]) -> None:
        c = self.config
        for one in neurons:
            if not (0 <= one.layer < c.layers and 0 <= one.neuron < c.d_ff):
                raise UsageError(
                    f"neuron {one}: the model has layers 0 to {c.layers - 1} "
                    f"with neurons 0 to {c.d_ff - 1}"
                )

    def measure(
        self,
        prompts: Union[str, Sequence[str]],
        answers: Union[str, Sequence[str]],
        neurons: Neurons,
        do: Optional[str] = None,
        *,
        zero: bool = False,
        double: bool = False,
        scale: Optional[float] = None,
        values: Optional[torch.Tensor] = None,
        threads: int = 0,
        memory: Memory = None,
    ) -> Measured:
        """P, rank and log-odds of answers before and after a change of neurons.

        Many prompts go together and share what lies below the lowest changed layer. Arguments as in
        :meth:`intervene`; ``answers``: one for each prompt, or one for all.
        """
        self._plain("measure")
        texts, asked = _pairs(prompts, answers)
        encoded = [self._core.encode(text, word, "prompts") for text, word in zip(texts, asked)]
        changes = self._changes_of(neurons, _what(do, zero, double, scale), values)
        before, after = _core.measure(
            self._core,
            encoded,
            [changes],
            [(i, 0) for i in range(len(encoded))],
            {"threads": threads, "memory_bytes": _bytes(memory)},
        )
        return Measured(
            Change(text, word, b[1], a[1], b[2], a[2], b[3], a[3])
            for text, word, b, a in zip(texts, asked, before, after)
        )

    def activations(
        self,
        prompts: Union[str, Sequence[str]],
        answers: Union[str, Sequence[str], None] = None,
        *,
        threads: int = 0,
        memory: Memory = None,
    ) -> torch.Tensor:
        """Activations of all neurons where the answer is asked: [prompts, layers, d_ff] float32.

        The mean over the masks of an answer of several tokens. Without answers at the one mask, or
        the last token of a causal model's prompt.
        """
        self._plain("activations")
        if answers is None:
            texts = [prompts] if isinstance(prompts, str) else list(prompts)
            encoded = []
            for text in texts:
                ids, positions, _, at = self._core.encode(text, "", "prompts")
                # Which answer is asked for changes no activation at its first place.
                encoded.append((ids, positions, [0], at))
        else:
            texts, asked = _pairs(prompts, answers)
            encoded = [self._core.encode(t, word, "prompts") for t, word in zip(texts, asked)]
        return _core.activations(
            self._core, encoded, {"threads": threads, "memory_bytes": _bytes(memory)}
        )

    # -- neurons ------------------------------------------------------------------------------

    def neuron(
        self,
        neuron: Union[str, Neuron, tuple[int, int]],
        *,
        corpus: Union[str, os.PathLike[str], None] = None,
        top: int = 10,
        limit: Optional[int] = None,
        window: int = 256,
        threads: int = 0,
        progress: Progress = False,
    ) -> NeuronCard:
        """Opens a neuron: what it writes, which neurons are like it, what triggers it.

        Args:
            neuron: ``"3:643"`` or ``(3, 643)``.
            corpus: Text, one sentence or paragraph a line, plain or packed: then its most and least
                active texts, too. Unlike the command it does not take the model's ``corpus.txt``
                by itself.
            top: Texts of each end, tokens and neighbours.
            limit: Lines of the corpus to read. Default: all.
            window: Tokens that are read at once.
        """
        self._plain("neuron")
        (one,) = neurons_of(neuron if isinstance(neuron, str) else [neuron])
        found = _core.neuron(self._core, one.layer, one.neuron, top)
        most: list[dict[str, Any]] = []
        least: list[dict[str, Any]] = []
        if corpus is not None:
            how = {"file": os.fspath(corpus), "limit": limit, "window": window, "threads": threads}
            active = _core.activity(
                self._core, one.layer, one.neuron, top, how, counter(progress, limit or 0, "lines")
            )
            most, least = active["most"], active["least"]
        logits = found["logits"].to(torch.float64)
        p = logits.softmax(0)
        if self._named is None:
            self._named = self._core.named_tokens()

        def tokens(lowest: bool) -> list[tuple[str, int, float, float]]:
            order = torch.sort(logits, descending=not lowest, stable=True).indices
            order = order[self._named[order]][:top]  # type: ignore[index]
            return [
                (self._core.token_of(i), i, logits[i].item(), p[i].item()) for i in order.tolist()
            ]

        def near(rows: Sequence[tuple[int, int, float]]) -> list[tuple[Neuron, float]]:
            return [(Neuron(layer, index), cosine) for layer, index, cosine in rows]

        return NeuronCard(
            neuron=one,
            key_norm=found["key_norm"],
            gate_norm=found["gate_norm"],
            value_norm=found["value_norm"],
            raises=tokens(False),
            lowers=tokens(True),
            near_by_key=near(found["near_by_key"]),
            near_by_value=near(found["near_by_value"]),
            most=most,
            least=least,
            hook=hook_name(one.layer),
            hf_module=hf_module(self.config.family, one.layer),
        )

    def hf_module(self, layer: int) -> str:
        """Path of the Hugging Face module at which the layer's neurons are read."""
        return hf_module(self.config.family, layer)

    def hf_side(self) -> str:
        """``"output"`` or ``"input"``: which of that module's the neurons are."""
        return hf_side(self.config.family)

    # -- edits --------------------------------------------------------------------------------

    def value_vectors(self, neurons: Neurons) -> torch.Tensor:
        """What neurons write to the residual stream: [neurons, d_model] float32."""
        self._refresh()
        return _core.value_vectors(self._core, neurons_of(neurons))

    def update_values(
        self,
        neurons: Neurons,
        prompt: str,
        old: str,
        new: str,
        *,
        lambda1: float = 1.0,
        lambda2: float = 8.0,
        embedding: Optional[str] = None,
    ) -> ValueEdit:
        """New value vectors that move from one answer towards another (Dai et al. 2022, section 5.1).

        ``value += -lambda1 |value|/|e(old)| e(old) + lambda2 |value|/|e(new)| e(new)``. ``prompt``
        gives the answers their tokens. Nothing is changed yet: see :meth:`apply`. ``embedding``:
        ``"input"`` or ``"output"``; default: input of masked models, output of causal ones.
        """
        from .edits import ValueEdit

        self._refresh()
        wanted = neurons_of(neurons)
        before = self._core.encode(prompt, old, "old")[2]
        after = self._core.encode(prompt, new, "new")[2]
        values = _core.update_values(
            self._core, wanted, before, after, lambda1, lambda2, embedding
        )
        why = {"kind": "update", "object": old, "target": new, "lambda1": lambda1, "lambda2": lambda2}
        return ValueEdit(wanted, values, why)

    def erase_values(self, neurons: Neurons, *, mode: str = "zero") -> ValueEdit:
        """Erased value vectors: ``"zero"``, ``"unk"`` (the unknown token's embedding) or ``"mean"``
        (of the layer). Nothing is changed yet: see :meth:`apply`."""
        from .edits import ValueEdit

        self._refresh()
        wanted = neurons_of(neurons)
        values = _core.erase_values(self._core, wanted, mode)
        return ValueEdit(wanted, values, {"kind": "erase", "mode": mode})

    def apply(self, edit: Union[ValueEdit, Delta]) -> None:
        """Makes an edit in memory: into a live module, or into this object's weights.

        Files are not touched. :meth:`undo` takes it back, bit for bit. Raises InputError for an
        edit of another model (a :class:`~engram.edits.Delta` knows its own; a live module is not
        asked for its fingerprint) or another size.
        """
        from .edits import Delta
        from .errors import InputError

        self._plain("apply")
        if isinstance(edit, Delta) and self._live is None and edit.base != self._base():
            raise InputError(f"the edit is of another model ({edit.base}), expected {self._base()}")
        expected = (len(edit.neurons), self.config.d_model)
        if tuple(edit.values.shape) != expected:
            raise InputError(f"values: got shape {tuple(edit.values.shape)}, expected {expected}")
        self._check(edit.neurons)
        by_layer: dict[int, list[int]] = {}
        for row, one in enumerate(edit.neurons):
            by_layer.setdefault(one.layer, []).append(row)
        saved: dict[int, torch.Tensor] = {}
        for layer, rows in by_layer.items():
            columns = [edit.neurons[row].neuron for row in rows]
            saved[layer] = self._write_values(layer, columns, edit.values[rows])
        self._applied.append((list(edit.neurons), saved))

    def undo(self) -> None:
        """Takes back the newest edit of :meth:`apply`. Raises UsageError where there is none."""
        self._plain("undo")
        if not self._applied:
            raise UsageError("undo: no edit is applied")
        neurons, saved = self._applied.pop()
        for layer, values in saved.items():
            columns = [one.neuron for one in neurons if one.layer == layer]
            self._write_values(layer, columns, values)

    def _write_values(self, layer: int, columns: list[int], values: torch.Tensor) -> torch.Tensor:
        """Puts ``values`` [columns, d_model] there; returns what was there before."""
        if self._live is None:
            weight = self._core.values(layer)
            before = weight[:, columns].t().clone()
            changed = weight.clone()
            changed[:, columns] = values.to(changed).t()
            self._core.replace_values(layer, changed)
            return before
        names, by_rows = self._core.value_names()[layer]
        state = _state(self._live.module)
        tensor = next(state[name] for name in reversed(names) if name in state)
        with torch.no_grad():
            view = tensor if by_rows else tensor.t()
            before = view[columns].clone()
            view[columns] = values.to(view)
        return before

    def _base(self) -> str:
        return _core.edit_base(str(self.path))


def _detached(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in state.items()}


def _texts(given: Union[str, Sequence[str], None]) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _pairs(
    prompts: Union[str, Sequence[str]], answers: Union[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    texts, asked = _texts(prompts), _texts(answers)
    if len(asked) == 1:
        asked = asked * len(texts)
    if len(asked) != len(texts):
        raise UsageError(
            f"answers: got {len(asked)} for {len(texts)} prompts, expected one for each or one for all"
        )
    return texts, asked


def _count(name: str, value: Optional[int], low: int, high: int) -> Optional[int]:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name}: got {value}, expected a whole number from {low} to {high}")
    return value


def _share(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise UsageError(f"{name}: got {value}, expected a number above 0 and below 1")
    return value


def _what(do: Optional[str], zero: bool, double: bool, scale: Optional[float]) -> str:
    asked = [name for name in (do, "zero" if zero else None, "double" if double else None) if name]
    if scale is not None:
        asked.append(f"scale:{scale!r}")
    if len(asked) != 1:
        raise UsageError("expected exactly one of do, zero, double and scale")
    return asked[0]
