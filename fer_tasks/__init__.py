"""The steps of a training run, one module each. No module here imports airflow or does anything when imported.

step                | module                      | reads                     | writes
--------------------|-----------------------------|---------------------------|-------
start_run           | start_run                   | the trigger's conf        | settings.json
ingest_dataset      | spark_jobs/ingest_faces     | the data set              | raw_faces.parquet, ingestion.json
check_data_quality  | data_quality                | raw_faces: measurements   | data_quality.json, the two lists
preprocess_faces    | spark_jobs/preprocess_faces | raw_faces, the two lists  | faces.parquet, preprocessing.json
train_model         | training                    | faces: train, validation  | model.keras, history.json
evaluate_model      | evaluation                  | model, faces: test        | evaluation.json, predictions.parquet
                    | data_profile                | raw_faces: measurements   | data_profile.json
                    | champion_comparison         | the champion, raw_faces   | its .json, champion_predictions.parquet
                    | slices                      | raw_faces, predictions    | slices.json
                    | serving_check               | model, in a new process   | its .json, golden_predictions.npz
explain_predictions | explanation                 | model, predictions        | explanations.json, explanation_maps.npz
accuracy_gate       | accuracy_gate               | what evaluate_model wrote | gate.json
approve_promotion   | approval                    | gate.json, a person       | approval.json, if require_approval
promote_model       | registry                    | model, gate.json          | promotion.json, a version and its alias
reject_model        | rejection                   | gate.json, approval.json  | (red, unless on_rejection is skip)
publish_report      | report                      | every record there is     | report.html, lineage.json

publish_report also writes index.html (report_index), the reports of all runs, beside the runs' folders, and logs the
run to MLflow (tracking), each thing once; tracking.json says which run there is this one's. promote_model and
reject_model, which run beside it, do the same when they end, for a report that did not know how they would. The
alias is moved by champion_alias alone: for promote_model, and for `make rollback` (champion), which leaves a
rollback.json in the folder of the run whose model was champion.

ingest_dataset, check_data_quality and preprocess_faces also write keys/<step>.json: what they made of what. They take
over the files of a former run with the same key instead of computing them (reuse, result_basis); their settings, inputs
and artefacts are declared in ingestion, data_quality and preprocessing. Every step writes its tries: steps/<step>.json.

The search for settings (fer_tuning) has the first four steps, start_run writing tuning.json too, and then

step                | module                      | reads                     | writes
--------------------|-----------------------------|---------------------------|-------
plan_trials         | study                       | tuning.json, the study    | the study: trials that wait
run_trials          | trials                      | faces: train, validation  | the study, trials/<number>/
choose_settings     | study_record                | the study                 | best_settings.json
publish_study       | study_report                | the study, steps/         | study.json, study.html

Scoring new images with the champion (fer_scoring) has these

step                | module                      | reads                     | writes
--------------------|-----------------------------|---------------------------|-------
start_run           | scoring_plan                | the trigger's conf        | scoring_settings.json
plan_scoring        | scoring_plan                | the champion, the images' | scoring_plan.json, .parquet,
                    |                             | names, the stored scores  | champion.keras
score_faces         | spark_jobs/score_faces      | the plan, the images      | scores.parquet, refused.parquet
check_scores        | score_checks                | the plan, these two       | score_checks.json
store_scores        | store_scores                | these two, the checks     | scored/<registered model>/, scoring.html
publish_scoring     | scoring_report              | every record there is     | scoring.html

The study is an Optuna study, in studies/<name>/journal.log unless FER_OPTUNA_STORAGE names a database. Its trials train
in studies/<name>/trials/<number>/ and leave settings.json and history.json there.

The two lists are quarantine.parquet and exclusions.parquet.

explanations.json holds for each explained face the regions' weights and the evidence for them (lime_evidence), and for
the run a check with shuffled weights (surrogates). Its .npz holds images, regions and weights as arrays.

The faces of the test split are read by evaluate_model and what comes after it, never before.

Tables (Parquet)

raw_faces: one row an image of the data set, also the unreadable ones
    position int64        place in the data set, from 0; a total order that a rerun keeps
    source string         where it came from, unique: `train/happy/a.jpg`, or `fer2013.csv:17` (line 17 of the file)
    image_id string       sha256 (hex) of the decoded 8-bit grayscale pixels, row by row; equal faces share it.
                          Of the undecoded bytes or text where nothing could be decoded
    usage_text string     the split as the data set spells it, unchecked; null if absent
    label_text string     the label as the data set spells it, unchecked; null if absent
    usage string          one of USAGES, or null when usage_text is none of them
    label int32           0..6, or null when label_text is no emotion
    height, width int32   pixels, after EXIF orientation; null where undecodable. A CSV row whose pixel count is no
                          square of IMAGE_SIDE has height 1 and width = its number of pixels
    channels int32        of the image as stored: 1 grey, 3 colour, 4 with alpha or CMYK
    num_pixels int32      height * width
    minimum, maximum int32     grey levels, 0..255
    mean, standard_deviation, sharpness float64    grey levels; sharpness is the variance of the Laplacian
    decode_error string   why nothing could be decoded, in words; null for a good image
    pixels binary         uint8 grayscale, row by row, height * width bytes; null where undecodable

quarantine: one row an image that cannot be used
    image_id string, source string, reason string (several reasons joined by "; ")

exclusions: one row a usable training image that the duplicate and leakage policies leave out
    image_id string, source string, reason string: `leaked`, `conflicting`, `duplicate`

faces: what the model sees, in folders split=train|validation|test
    position int64, image_id string, source string
    label int32           0..6
    augmentation string   null for an original, else the change made to a copy (training images only)
    pixels list<float32>  2304 values in [0, 1], row by row; at most 256 distinct ones, so that Parquet's dictionary
                          keeps them near one byte a pixel

predictions: one row a test image
    position int64, image_id string, source string, label int32, predicted int32, confidence float32
    probability_<emotion> float32, seven columns in EMOTIONS order

scores: one row an image that the champion has scored; in a run's folder, and in scored/<registered model>/ in folders
scored_on=<date>/model_version=<version>/run=<run's folder>
    path string           of the file; `<zip>/<member>`; `<csv>:<line>`
    image_id string       as in raw_faces
    emotion string, confidence float32
    probability_<emotion> float32, seven columns in EMOTIONS order
    brightness, contrast, sharpness float64    mean and deviation of the grey levels, variance of the Laplacian
    file_version string   size and time of a file, size and CRC of a member, digest of a line: by it and `path` an image
                          is known to have been scored
    position int64        in the run's plan
    scored_at timestamp

refused: one row an image that could not be scored: path, image_id, reason, file_version, position, scored_at

champion_predictions: one row a test image; absent without a champion that can be compared
    position int64, image_id string, predicted int32
"""
