"""Every key once, with its default. Names are PySlowFast's wherever the concept is the same."""

from fvcore.common.config import CfgNode as CN

_C = CN()

_C.TASK = "classification"  # row of cmvl/tasks.py
_C.OUTPUT_DIR = "./output"  # config, logs, checkpoints and results go here
_C.RNG_SEED = 0  # seeds weights, data order and augmentation
_C.DETERMINISTIC = False  # True: the same bits from a run made again, on a GPU too; slower
_C.NUM_GPUS = 1  # GPUs of this machine, a process each; 0: run on the CPU
_C.LOG_PERIOD = 10  # iterations between two log lines

_C.DIST = CN()
_C.DIST.PROCESSES = 0  # on this machine; 0: one per GPU, one on a CPU
_C.DIST.MEETING = 300.0  # seconds to wait for all processes to come
_C.DIST.TIMEOUT = 1800.0  # seconds after which a process that does not answer ends the run

_C.TENSORBOARD = CN()
_C.TENSORBOARD.ENABLE = False  # write numbers and pictures for TensorBoard besides the log?
_C.TENSORBOARD.LOG_DIR = ""  # where to; "": OUTPUT_DIR/tensorboard
_C.TENSORBOARD.HISTOGRAM_PERIOD = 1  # epochs between two of memory weights and gates; 0: none
_C.TENSORBOARD.NUM_VIDEOS = 4  # training videos whose clips are shown at the start; 0: none

_C.TRAIN = CN()
_C.TRAIN.ENABLE = True  # train?
_C.TRAIN.DATASET = "Kinetics"  # reader: a name registered in cmvl/data
_C.TRAIN.BATCH_SIZE = 64  # B, the clips of one step; under batch reduction B / N videos
_C.TRAIN.EVAL_PERIOD = 1  # epochs between two validations; 0: never
_C.TRAIN.EVAL_VIEWS = 5  # uniform centre-crop clips per video in these validations
_C.TRAIN.CHECKPOINT_PERIOD = 1  # epochs between two checkpoints
_C.TRAIN.CHECKPOINT_MINUTES = 30.0  # and minutes, within an epoch or a test; 0: never there
_C.TRAIN.CHECKPOINT_KEEP = 3  # newest checkpoints that stay, besides the best; 0: all
_C.TRAIN.AUTO_RESUME = True  # continue from the last checkpoint in OUTPUT_DIR
_C.TRAIN.INIT_FROM = ""  # weights to start from (stage one); ours or PySlowFast's
_C.TRAIN.LABEL_SMOOTHING = 0.0  # share of a label spread over all classes; classification alone
_C.TRAIN.PRECISION = "auto"  # float32 | bfloat16 | float16 (scaled); auto: bfloat16 where fast

_C.TEST = CN()
_C.TEST.ENABLE = True  # test after training (or alone)?
_C.TEST.DATASET = "Kinetics"  # reader: a name registered in cmvl/data
_C.TEST.CHECKPOINT_FILE_PATH = ""  # weights to test; "": the last checkpoint in OUTPUT_DIR
_C.TEST.NUM_ENSEMBLE_VIEWS = 10  # V, uniformly spaced clips of a video
_C.TEST.NUM_SPATIAL_CROPS = 3  # S, crops of each of these clips (1: centre, 3: along the long side)
_C.TEST.CHUNK = 10  # views per forward pass; lower it when memory is short, same result
_C.TEST.PRECISION = "float32"  # as TRAIN.PRECISION, for tests
_C.TEST.SKIP_BROKEN = False  # True: list unreadable videos in the results instead of stopping

_C.DATA = CN()
_C.DATA.PATH_TO_DATA_DIR = ""  # folder with train.csv, val.csv, test.csv
_C.DATA.PATH_PREFIX = ""  # put before every relative path of a list
_C.DATA.PATH_LABEL_SEPARATOR = "auto"  # between path and label in a list; auto: found
_C.DATA.BACKEND = "pyav"  # what decodes videos: pyav | torchcodec, if it is installed
_C.DATA.NUM_FRAMES = 8  # T, frames of a clip
_C.DATA.SAMPLING_RATE = 8  # tau, frames of video per frame of clip, at TARGET_FPS
_C.DATA.TARGET_FPS = 30  # frame rate in which SAMPLING_RATE counts
_C.DATA.CLIP_RULE = "auto"  # the data set's | span (Kinetics) | strided (Charades) | segments
_C.DATA.TRAIN_JITTER_SCALES = [256, 320]  # range of the short side in training, pixels
_C.DATA.INV_UNIFORM_SAMPLE = False  # draw 1 / short side uniformly instead of the short side
_C.DATA.TRAIN_CROP_SIZE = 224  # random square crop in training, pixels
_C.DATA.TEST_CROP_SIZE = 256  # short side and square crop in test, pixels
_C.DATA.RANDOM_FLIP = True  # mirror half of the training clips
_C.DATA.MEAN = [0.45, 0.45, 0.45]  # RGB mean of pixels in 0..1
_C.DATA.STD = [0.225, 0.225, 0.225]  # RGB standard deviation of pixels in 0..1
_C.DATA.ENSEMBLE_METHOD = "sum"  # of a test video's views: sum (ranks as the mean does) | max
_C.DATA.MAX_RESAMPLES = 10  # training: videos tried in place of a broken one before stopping

_C.DATA_LOADER = CN()
_C.DATA_LOADER.NUM_WORKERS = 8  # decoding processes; 0: decode in the main process
_C.DATA_LOADER.PREFETCH_FACTOR = 2  # batches a worker prepares ahead
_C.DATA_LOADER.TIMEOUT = 300  # seconds without a batch after which a run stops; 0: never
_C.DATA_LOADER.PIN_MEMORY = True  # page-locked batches for faster copies to a GPU

_C.AUG = CN()
_C.AUG.SHARED = False  # True: one draw (scale, crop, flip and these) for all N clips of a video
_C.AUG.RANDAUGMENT_OPS = 0  # operations of RandAugment on every training clip; 0: none
_C.AUG.RANDAUGMENT_MAGNITUDE = 9  # their strength, 0..30
_C.AUG.COLOR_JITTER = 0.0  # strength of random brightness, contrast and saturation
_C.AUG.RE_PROB = 0.0  # probability of erasing a random rectangle of a clip

_C.MIXUP = CN()  # of whole videos: one share for all clips of a video
_C.MIXUP.ENABLE = False  # True: training videos are mixed with others of their batch, labels too
_C.MIXUP.ALPHA = 0.8  # mixup: a video's share is drawn from Beta(ALPHA, ALPHA); 0: no mixup
_C.MIXUP.CUTMIX_ALPHA = 1.0  # the same of CutMix, where the other video fills a rectangle; 0: none
_C.MIXUP.PROB = 1.0  # probability of a video's being mixed
_C.MIXUP.SWITCH_PROB = 0.5  # then of CutMix instead of mixup, where there are both

_C.VIDEO = CN()
_C.VIDEO.NUM_CLIPS = 1  # N, clips of one video trained together
_C.VIDEO.STRATEGY = "batch_reduction"  # batch_reduction | multi_iteration (Sec. 3.3)
_C.VIDEO.CLIPS_AT_ONCE = 1  # multi_iteration: clips of a video whose activations are held together
_C.VIDEO.LOSS_WEIGHT = 1.0  # alpha of Eq. 1, weight of the video-level term
_C.VIDEO.STRATIFIED = False  # True: one clip starts in each of N equal parts of the video
_C.VIDEO.SHUFFLED = True  # stratified clips in random order; False: clip n is of the n-th part
_C.VIDEO.WINDOW = 1  # detection: seconds between the N key frames around the one asked for

_C.MEMORY = CN()
_C.MEMORY.INTERACTION = "NoMemory"  # NoMemory | AveragePoolMemory | AssociativeMemory
_C.MEMORY.INFUSION = "FeatureGating"  # FeatureGating | ResidualInfusion
_C.MEMORY.REDUCTION = 4  # d / d'
_C.MEMORY.BIAS = True  # biases on W_k, W_v, W_q, W_O
_C.MEMORY.NORM = "batch"  # after W_O: batch | batch_all | layer | none; batch_each: all projections
_C.MEMORY.INIT = "uniform"  # uniform | normal: N(0, 0.01) | zero: nothing is infused at first
_C.MEMORY.PATHWAYS = "all"  # all: one memory per pathway; slow: on the first pathway only

_C.MODEL = CN()
_C.MODEL.BACKBONE = "SlowOnly"  # a name registered in cmvl/backbones, or torchvision/NAME
_C.MODEL.NUM_CLASSES = 400  # K
_C.MODEL.DROPOUT_RATE = 0.5  # before the classifier
_C.MODEL.FREEZE_BACKBONE = False  # train memory and head alone (Table 2a)
_C.MODEL.FREEZE = []  # patterns of parameter names that do not learn, e.g. ["backbone.s1.*"]
_C.MODEL.COMPILE = False  # torch.compile for backbone and memory
_C.MODEL.MEMORY_FORMAT = "auto"  # contiguous | channels_last; auto: the latter for half on a GPU
_C.MODEL.TF32 = True  # TensorFloat-32 in float32 convolutions and products on a GPU
_C.MODEL.FC_INIT_STD = 0.01  # standard deviation of the classifier's initial weights

_C.RESNET = CN()
_C.RESNET.DEPTH = 50  # 18 | 34 (basic blocks) | 26 | 50 | 101 | 152 (bottlenecks)
_C.RESNET.STAGE_BLOCKS = []  # blocks of res2..res5, to make a smaller net of DEPTH's block type
_C.RESNET.WIDTH_PER_GROUP = 64  # channels of the stem
_C.RESNET.ZERO_INIT_FINAL_BN = True  # residual branches start at zero
_C.RESNET.NUM_BLOCK_TEMP_KERNEL = []  # first blocks of res2..res5 with temporal kernels; []: all
_C.RESNET.SPATIAL_STRIDES = [1, 2, 2, 2]  # of res2..res5
_C.RESNET.SPATIAL_DILATIONS = [1, 1, 1, 1]  # of res2..res5

_C.SLOWFAST = CN()
_C.SLOWFAST.ALPHA = 4  # frames of the fast pathway per frame of the slow one
_C.SLOWFAST.BETA_INV = 8  # channels of the slow pathway per channel of the fast one
_C.SLOWFAST.FUSION_CONV_CHANNEL_RATIO = 2  # lateral channels per fast channel
_C.SLOWFAST.FUSION_KERNEL_SZ = 5  # temporal kernel of the lateral convolutions

_C.NONLOCAL = CN()
_C.NONLOCAL.LOCATION = [[], [], [], []]  # blocks of res2..res5, from 0, followed by a non-local one
_C.NONLOCAL.INSTANTIATION = "dot_product"  # dot_product | softmax
_C.NONLOCAL.POOL = [1, 2, 2]  # max pool of keys and values, t h w; or one per stage
_C.NONLOCAL.GROUP = [1, 1, 1, 1]  # groups of frames that attend only to themselves, per stage

_C.I3D = CN()
_C.I3D.CONV1_STRIDE = 1  # temporal stride of the first convolution; 2: the original 32x2 net
_C.I3D.POOL1_SIZE = 1  # temporal kernel and stride of the pool after it; 2: the original 32x2 net
_C.I3D.POOL1_PAD = 1  # spatial padding of that pool; 0: the original nets

_C.DETECTION = CN()
_C.DETECTION.ROI_XFORM_RESOLUTION = 7  # cells per side of a box
_C.DETECTION.ALIGNED = True  # False: RoIAlign half a cell off, as PySlowFast's Caffe2 models

_C.AVA = CN()  # folders are under DATA.PATH_TO_DATA_DIR, annotation files in ANNOTATION_DIR
_C.AVA.FRAME_DIR = "frames"  # one folder of frames, or one video file, per video
_C.AVA.FRAME_LIST_DIR = "frame_lists"  # PySlowFast's lists of these frames
_C.AVA.TRAIN_LISTS = []  # frame lists of training, e.g. train.csv; []: all videos with boxes
_C.AVA.TEST_LISTS = []  # frame lists of val and test, e.g. val.csv
_C.AVA.START_SECOND = 900.0  # second of the annotation at which frames and videos begin
_C.AVA.KEYFRAME_RANGE = [902, 1798]  # annotated seconds; []: each video's first to last
_C.AVA.ANNOTATION_DIR = "annotations"  # box files, label map, excluded key frames
_C.AVA.TRAIN_GT_BOX_LISTS = ["ava_train_v2.2.csv"]  # boxes with actions, for training
_C.AVA.TRAIN_PREDICT_BOX_LISTS = []  # a detector's boxes with actions, also for training
_C.AVA.TEST_PREDICT_BOX_LISTS = ["ava_val_predicted_boxes.csv"]  # of a test; []: ground truth
_C.AVA.DETECTION_SCORE_THRESH = 0.9  # a detector's boxes below are left out
_C.AVA.FULL_TEST_ON_VAL = False  # False: validations in training take every fourth second
_C.AVA.GROUNDTRUTH_FILE = "ava_val_v2.2.csv"  # what val and test are held against
_C.AVA.LABEL_MAP_FILE = "ava_action_list_v2.2_for_activitynet_2019.pbtxt"  # evaluated classes
_C.AVA.EXCLUSION_FILE = "ava_val_excluded_timestamps_v2.2.csv"  # key frames left out; "": none
_C.AVA.EVALUATOR = "pyslowfast"  # or activitynet_2018, _2019, _2020, whose numbers differ

_C.TORCHVISION = CN()
_C.TORCHVISION.WEIGHTS = ""  # pretrained ones to start from by torchvision's name, say DEFAULT

_C.BN = CN()
_C.BN.USE_PRECISE_STATS = False  # re-estimate the running statistics before every validation
_C.BN.NUM_BATCHES_PRECISE = 200  # batches used for it
_C.BN.SYNC = False  # statistics over the clips of all processes, not of each
_C.BN.CLIPWISE = True  # a group per clip n; False: all B x N, in backbone and MEMORY.NORM batch
_C.BN.FROZEN = False  # the backbone's norms neither learn nor move their statistics
_C.BN.WEIGHT_DECAY = 0.0  # weight decay of normalisation parameters

_C.SOLVER = CN()
_C.SOLVER.OPTIMIZING_METHOD = "sgd"  # sgd | adamw, which transformers are trained with
_C.SOLVER.BASE_LR = 0.1  # learning rate for TRAIN.BATCH_SIZE independent clips
_C.SOLVER.BACKBONE_LR_MULT = 1.0  # the backbone's rate in units of that of memory and head
_C.SOLVER.LR_POLICY = "cosine"  # cosine | steps_with_relative_lrs
_C.SOLVER.COSINE_END_LR = 0.0  # learning rate at the end of the cosine
_C.SOLVER.COSINE_AFTER_WARMUP = False  # start the cosine at the end of the warm-up
_C.SOLVER.STEPS = []  # epochs at which the stages start, the first is 0
_C.SOLVER.LRS = []  # learning rate of each stage, in units of BASE_LR
_C.SOLVER.MAX_EPOCH = 196  # passes over the videos
_C.SOLVER.WARMUP_EPOCHS = 0.0  # length of the linear warm-up
_C.SOLVER.WARMUP_START_LR = 0.01  # where the warm-up starts
_C.SOLVER.MOMENTUM = 0.9  # of SGD
_C.SOLVER.DAMPENING = 0.0  # of SGD
_C.SOLVER.NESTEROV = True  # of SGD
_C.SOLVER.BETAS = [0.9, 0.999]  # of AdamW
_C.SOLVER.WEIGHT_DECAY = 1e-4  # of everything but normalisation parameters
_C.SOLVER.ZERO_WD_1D_PARAM = False  # no decay of biases and other vectors either
_C.SOLVER.CLIP_GRAD_L2NORM = 0.0  # largest gradient norm; 0: no limit
_C.SOLVER.ACCUM_ITERS = 1  # backward passes a step; B is spread over them
_C.SOLVER.NONFINITE = 0  # steps with a loss that is no number to skip before a run stops


def get_cfg() -> CN:
    """A fresh copy of the defaults."""
    return _C.clone()
