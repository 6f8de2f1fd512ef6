"""Every error that a person can act on. Its message says what came, what was expected and what to do.

PipelineError            a verdict or bad input: final, never retried
├── SettingsError        a setting is unknown, of the wrong type, or out of range
├── DatasetError         the data set, or an image, cannot be read as one
│   ├── ImageFormatError    the bytes are no image of a format that is read
│   └── ImageTooLargeError  the image has more pixels than allowed
├── DataQualityError     the data set was read and refused
├── TrainingError        training cannot start or go on with these settings and data
├── RegistryError        the model registry refused or contradicts the run
├── ModelRejectedError   the gate's verdict on a trained model
└── ReportError          an artefact that the report needs contradicts itself

Anything else (a lost disk, a killed process, an unreachable server) keeps its own type and is retried.
"""


class PipelineError(Exception):
    """Base of all errors whose cause is the input, not the infrastructure."""


class SettingsError(PipelineError):
    """A setting is unknown, of the wrong type, or out of range."""


class DatasetError(PipelineError):
    """The data set, or an image, cannot be read as one."""


class ImageFormatError(DatasetError):
    """The bytes are no image of a format that is read."""


class ImageTooLargeError(DatasetError):
    """The image has more pixels than allowed."""


class DataQualityError(PipelineError):
    """The data set was read, and a blocking expectation failed."""


class TrainingError(PipelineError):
    """Training cannot start or go on with these settings and data."""


class RegistryError(PipelineError):
    """The model registry refused, or contradicts the run."""


class ModelRejectedError(PipelineError):
    """The accuracy gate rejected the trained model."""


class ReportError(PipelineError):
    """An artefact that the report needs contradicts itself."""
