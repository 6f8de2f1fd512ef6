#!/usr/bin/env bash
# The whole training on a GPU, in three calls of less than ten minutes, for a machine that is lent for half an hour.
#
#   bash pretraining/on_gpu.sh CALL FACES WORK OUT      CALL: check, 1, 2 or 3
#
# FACES  what pretraining.export_faces wrote; copied into WORK, so that later calls do not need it
# WORK   stays on the machine between the calls; a *.npz of OUT that is put into WORK/restore is taken up again
# OUT    gets the call's weights (one file a network, at most 12 MB) and its log.jsonl
#
# Runs from the project's folder and needs python3 with numpy, JAX and Keras; PYTHON names another one. Every training
# plans as many epochs as fit its minutes (--fit), so that an unknown speed costs epochs and never a schedule's end.
set -euo pipefail

call=$1 faces=$2 work=$3 out=$4
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1 CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
export JAX_COMPILATION_CACHE_DIR=$work/compiled
mkdir -p "$work/teachers" "$work/students" "$work/restore" "$out"
[ ! -f "$faces" ] || cp "$faces" "$work/faces.npz"
for file in "$work"/restore/*.npz; do
    [ -f "$file" ] || continue
    mkdir -p "$work/teachers/$(basename "$file" .npz)"
    cp "$file" "$work/teachers/$(basename "$file" .npz)/weights.npz"
done

train() {  # exit status 3: cut by --minutes, its weights are written all the same
    "${PYTHON:-python3}" -m pretraining.train "$work/faces.npz" --need-gpu --fit "$@" || [ $? -eq 3 ]
}
teach() {
    train --out "$work/teachers" --half-size --mixup 0.4 --weight-decay 5e-4 --batch-size 128 --learning-rate 0.1 "$@"
}
give() {  # give FOLDER...
    for folder in "$@"; do
        [ -f "$folder/weights.npz" ] || continue
        cp "$folder/weights.npz" "$out/$(basename "$folder").npz"
        cat "$folder/log.jsonl" >> "$out/log.jsonl"
    done
}

case $call in
check)  # a minute: that everything is there, and the seconds of an epoch
    train --out "$work/check" --network vgg --epochs 2 --minutes 1.5
    give "$work"/check/*
    ;;
1)
    teach --network vgg --seeds 1 2 --epochs 120 --minutes 4
    teach --network resnet18 --seeds 1 2 --epochs 120 --minutes 4.6
    give "$work"/teachers/vgg-[12] "$work"/teachers/resnet18-[12]
    ;;
2)
    teach --network se_resnet --seeds 1 2 3 --epochs 120 --minutes 6.2
    train --out "$work/students" --network resnet --name scratch --epochs 150 --mixup 0.2 --minutes 2.2
    give "$work"/teachers/se_resnet-[123] "$work"/students/scratch-1
    ;;
3)
    teachers=()
    for file in "$work"/teachers/*/weights.npz; do teachers+=("$(dirname "$file")"); done
    "${PYTHON:-python3}" -m pretraining.ensemble "$work/faces.npz" "${teachers[@]}"
    train --out "$work/students" --network resnet --teachers "${teachers[@]}" --epochs 400 --mixup 0.4 \
        --batch-size 128 --learning-rate 0.1 --weight-decay 1e-4 --distillation-weight 0.9 --minutes 8.6
    give "$work"/students/resnet-1
    ;;
*)
    echo "CALL is $call; expected check, 1, 2 or 3." >&2
    exit 2
    ;;
esac
