"""A typical Keras script for a table: the counterpart of a whole `trainer fit`.

python benchmarks/keras_script.py TABLE.csv EPOCHS
"""

import sys
import tempfile
from pathlib import Path

import keras
import polars as pl

table = pl.read_csv(sys.argv[1])
x = table.drop("y").to_numpy().astype("float32")
y = table["y"].to_numpy()

model = keras.Sequential(
    [
        keras.Input((x.shape[1],)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=int(sys.argv[2]), validation_split=0.2, verbose=0)
print(model.evaluate(x, y, verbose=0))
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder, "model.keras"))
