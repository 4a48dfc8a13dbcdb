"""colorseg: automatic colorization treated as segmentation.

Names are imported when they are first used, so that `import colorseg` stays quick and starts
neither TensorFlow nor a GPU.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["baselines", "cli", "color", "encodings", "metrics", "presets", "toy_pets"],
    submod_attrs={
        "color": [
            "add_chroma",
            "fit_to_gamut",
            "lab_to_rgb",
            "luma",
            "rgb_to_lab",
            "rgb_to_yuv",
            "yuv_to_rgb",
        ],
        "data": [
            "breed_names",
            "load",
            "make_dataset",
            "pets_are_prepared",
            "photos",
            "resize",
        ],
        "diagram": ["plot_model"],
        "encodings": ["YUV", "Chroma", "QuantizedAB"],
        "evaluation": ["NetworkMethod", "evaluate", "to_markdown"],
        "export": ["ExportedMethod", "export_model"],
        "losses": ["EncodedLoss"],
        "metrics": ["METRICS"],
        "model": ["build_unet", "load_pretrained", "load_run"],
        "photo": ["PhotoError", "read_photo"],
        "predict": ["colorize", "segment"],
        "presets": ["Config", "preset"],
        "profiles": ["profile"],
        "tasks": ["VOID", "Task", "breed_task", "color_task", "compile_args", "mask_task"],
        "training": ["publish", "read_history", "train"],
        "viz": ["choose", "compare", "overlay", "plot_history", "show", "slider", "upload"],
    },
)
__version__ = "0.1.0"
