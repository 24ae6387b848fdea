"""Recorded episodes as a page can play them: numbers only, checked before they are shown.

``replay.json`` in a run folder holds a colony on its field, an agent in its room, or few-shot episodes with what was
answered. A folder may be a stranger's: whatever does not fit the schema is refused in one line, and the page draws
numbers, never markup.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Literal

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from rl_suite.errors import UserError
from rl_suite.reading import read_bytes

MOST_BYTES = 3_000_000
MOST_FRAMES, MOST_NODES, MOST_CELLS, MOST_GRID, MOST_MODELS = 2000, 512, 64, 96, 16
MOST_PIXELS, MOST_WAYS, MOST_EPISODES, MOST_QUESTIONS = 64, 40, 16, 400  # of few-shot episodes

Place = Annotated[int, Field(ge=-100_000, le=100_000)]  # tenths of a pixel from the centre of the dish
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(max_length=200)]


class Plain(BaseModel):
    """Nothing that is not expected, nothing that changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Moment(Plain):
    """One step of a colony of n nodes."""

    x: Annotated[list[Place], Field(max_length=MOST_NODES)]
    y: Annotated[list[Place], Field(max_length=MOST_NODES)]
    mark: Annotated[list[Annotated[int, Field(ge=0, le=2)]], Field(max_length=MOST_NODES)]  # 1 kept, 2 to delete
    age: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MOST_NODES)]  # steps
    kpa: Annotated[list[Number], Field(max_length=MOST_NODES)]  # stiffness under the node
    edges: Annotated[list[Annotated[int, Field(ge=0, lt=MOST_NODES)]], Field(max_length=16 * MOST_NODES)]  # pairs
    reward: Number
    index: Number  # durotactic index so far
    looks: Annotated[list[list[Share]], Field(max_length=MOST_NODES)] = []
    """How much each of ``models`` counts for what the agent does next: one row for the colony, or one for each node."""

    @model_validator(mode="after")
    def _same_lengths(self) -> "Moment":
        n = len(self.x)
        if not n == len(self.y) == len(self.mark) == len(self.age) == len(self.kpa):
            raise ValueError("node lists of different lengths")
        if len(self.edges) % 2 or any(end >= n for end in self.edges):
            raise ValueError("edges between nodes that are not there")
        if len(self.looks) not in (0, 1, n):
            raise ValueError("looks of nodes that are not there")
        return self


class ColonyReplay(Plain):
    """An episode of durotaxis; lengths in tenths of a pixel, y upwards."""

    kind: Literal["colony"] = "colony"
    about: Text
    radius: Place
    safe_radius: Place
    goal: Place  # distance of the goal line from the centre, towards ``up``
    up: tuple[Number, Number]  # direction of the gradient
    um_per_px: Number
    field: Annotated[list[Annotated[list[int], Field(max_length=MOST_GRID)]], Field(max_length=MOST_GRID)]
    """Stiffness from 0 (soft) to 255 (stiff) on a square grid over the dish, rows from above."""
    kpa: tuple[Number, Number]  # at 0 and at 255
    moments: Annotated[list[Moment], Field(min_length=1, max_length=MOST_FRAMES)]
    models: Annotated[list[Text], Field(max_length=MOST_MODELS)] = []
    """Pre-trained models that the agent weighs against each other."""

    @model_validator(mode="after")
    def _one_share_for_each_model(self) -> "ColonyReplay":
        if any(len(row) != len(self.models) for moment in self.moments for row in moment.looks):
            raise ValueError("looks at other models than those named")
        return self


class RoomReplay(Plain):
    """A trial in a room: where the agent stood, what it earned, which episode it was; cells are row * size + column."""

    kind: Literal["room"] = "room"
    about: Text
    size: Annotated[int, Field(ge=1, le=MOST_CELLS)]
    landmarks: Annotated[list[tuple[Annotated[str, Field(max_length=2)], int]], Field(max_length=8)]
    cells: Annotated[list[int], Field(min_length=1, max_length=MOST_FRAMES)]  # (T,)
    rewards: Annotated[list[Number], Field(max_length=MOST_FRAMES)]  # (T,) of the step that led here
    episodes: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MOST_FRAMES)]  # (T,)

    @model_validator(mode="after")
    def _inside(self) -> "RoomReplay":
        if not len(self.cells) == len(self.rewards) == len(self.episodes):
            raise ValueError("lists of different lengths")
        if not all(0 <= cell < self.size**2 for cell in [*self.cells, *(cell for _, cell in self.landmarks)]):
            raise ValueError("cells outside the room")
        return self


Picture = Annotated[str, Field(max_length=4 * MOST_PIXELS**2 + 4)]  # base64 of bytes, (size, size, channels)


class Question(Plain):
    """A picture whose class was asked for, and the share of belief in each class."""

    picture: Picture
    label: Annotated[int, Field(ge=0, lt=MOST_WAYS)]
    shares: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(max_length=MOST_WAYS)]


class FewShotEpisode(Plain):
    """One picture of each class that was given, and what was asked."""

    given: Annotated[list[Picture], Field(min_length=2, max_length=MOST_WAYS)]
    questions: Annotated[list[Question], Field(min_length=1, max_length=MOST_QUESTIONS)]

    @model_validator(mode="after")
    def _same_classes(self) -> "FewShotEpisode":
        n = len(self.given)
        if any(len(question.shares) != n or question.label >= n for question in self.questions):
            raise ValueError("questions about classes that were not given")
        return self


class FewShotReplay(Plain):
    """Episodes of classes that training never saw, question by question."""

    kind: Literal["few_shot"] = "few_shot"
    about: Text
    size: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    channels: Literal[1, 3]
    episodes: Annotated[list[FewShotEpisode], Field(min_length=1, max_length=MOST_EPISODES)]

    @model_validator(mode="after")
    def _sizes(self) -> "FewShotReplay":
        wanted = self.size**2 * self.channels
        for episode in self.episodes:
            for picture in [*episode.given, *(question.picture for question in episode.questions)]:
                try:
                    found = len(base64.b64decode(picture, validate=True))
                except (binascii.Error, ValueError):
                    raise ValueError("a picture is no base64") from None
                if found != wanted:
                    raise ValueError("a picture of another size")
        return self


AnyReplay = ColonyReplay | RoomReplay | FewShotReplay
ADAPTER: TypeAdapter[AnyReplay] = TypeAdapter(Annotated[AnyReplay, Field(discriminator="kind")])


def read_replay(path: Path) -> AnyReplay:
    """The replay of a file.

    Raises:
        UserError: it is missing, a link, too large, or no replay.
    """
    try:
        return ADAPTER.validate_json(read_bytes(path, MOST_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise UserError(f"{path}: no replay: {place}: {first['msg'][:120]}; delete it") from None


def as_script(content: BaseModel) -> Markup:
    """Checked numbers as JSON that may stand inside a script element: no ``<`` can end it."""
    text = json.dumps(content.model_dump(), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
